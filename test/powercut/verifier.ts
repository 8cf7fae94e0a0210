/**
 * What must hold of every state that a power cut may leave.
 *
 * Acknowledged is a head from the moment at which the daemon's log says "head
 * recorded": by then the rows, the state and the head log have it, and status
 * and the command have begun to say so.
 */

import { hash } from 'node:crypto'
import { join } from 'node:path'
import { inflateSync } from 'node:zlib'
import { DatabaseReader, readRows, readState } from './databases.js'
import { DirectoryNode, FileNode } from './disk-model.js'
import type { Closures, Needed } from './closures.js'
import type { CrashState } from './crash-state.js'
import type { Remembered, Rows } from './databases.js'

/** Of each library the heads that were acknowledged, oldest first. */
export type Acknowledged = ReadonlyMap<string, readonly string[]>

export interface Places {
  /** Of the backup: seafile-data and the state directory are in it. */
  readonly root: string
  /** For copies of databases. */
  readonly scratch: string
}

export interface Known {
  /** What is acknowledged in the whole recording. */
  readonly later: Acknowledged
  /** Of the primary's virtual libraries. */
  readonly origins: ReadonlyMap<string, string>
}

export class Verifier {
  readonly #dataDir: string
  readonly #rows: DatabaseReader<Rows>
  readonly #state: DatabaseReader<Remembered>
  readonly #whole = new Map<string, boolean>()

  constructor(
    { root, scratch }: Places,
    private readonly closures: Closures,
    private readonly known: Known,
  ) {
    this.#dataDir = join(root, 'seafile-data')
    this.#rows = new DatabaseReader(join(this.#dataDir, 'seafile.db'), join(scratch, 'rows'), readRows)
    this.#state = new DatabaseReader(join(root, 'seaf-backup-state', 'state.db'), join(scratch, 'state'), readState)
  }

  /** A sentence for each thing that is not as it must be. */
  problems(state: CrashState, acknowledged: Acknowledged): string[] {
    const problems: string[] = []
    const rows = this.#readable('rows', () => this.#rows.read(state), problems)
    const remembered = this.#readable('state', () => this.#state.read(state), problems)
    const objects = new ObjectLookup(state, this.#dataDir, this.#whole)
    if (rows) problems.push(...this.#headsWhole(rows, objects), ...this.#acknowledgedHeads(rows, acknowledged))
    if (rows && remembered)
      problems.push(...this.#vouchedWhole(rows, remembered, objects), ...agreement(rows, remembered))
    if (remembered) problems.push(...acknowledgedLog(remembered, acknowledged))
    problems.push(...objects.strange())
    return problems
  }

  #readable<T>(what: string, read: () => T, problems: string[]): T | undefined {
    try {
      return read()
    } catch (error) {
      problems.push(`${what}: not readable: ${String(error)}`)
      return undefined
    }
  }

  *#headsWhole({ heads, virtuals }: Rows, objects: ObjectLookup): Generator<string> {
    for (const [repo, head] of heads) {
      const virtual = virtuals.get(repo)
      const lost = objects.lacking(this.closures.of(repo, virtual?.origin ?? repo, head))
      if (lost) yield `rows: head ${head} of ${repo} lacks ${lost}`
      const base = virtual && objects.lacking(this.closures.ofBase(virtual.origin, virtual.base))
      if (base) yield `rows: base ${virtual?.base} of ${repo} lacks ${base}`
    }
  }

  *#acknowledgedHeads({ heads }: Rows, acknowledged: Acknowledged): Generator<string> {
    for (const [repo, said] of acknowledged) {
      const head = heads.get(repo)
      const all = this.known.later.get(repo) ?? []
      const isLater = head !== undefined && all.lastIndexOf(head) >= said.length - 1
      // recorded by a process that was killed before it could say so
      const unsaid = head !== undefined && !all.includes(head)
      if (!isLater && !unsaid) yield `rows: ${repo} is at ${head}, acknowledged was ${said.at(-1)}`
    }
  }

  *#vouchedWhole({ virtuals }: Rows, { libraries, holes }: Remembered, objects: ObjectLookup): Generator<string> {
    if (holes > 0) yield 'state: holes, though nothing was damaged'
    for (const { repo, vouched } of libraries) {
      if (vouched === null) continue
      const lost = objects.lacking(this.closures.of(repo, this.#storeOf(repo, virtuals), vouched))
      if (lost) yield `state: vouched commit ${vouched} of ${repo} lacks ${lost}`
    }
  }

  /** Between the state's note and the rows of a first sync only the primary knows whose store it is. */
  #storeOf(repo: string, virtuals: Rows['virtuals']): string {
    return virtuals.get(repo)?.origin ?? this.known.origins.get(repo) ?? repo
  }
}

/** The state may be a step behind the rows: cut between the two, it vouches for what the rows have. */
function* agreement({ heads }: Rows, { libraries }: Remembered): Generator<string> {
  const known = new Map(libraries.map(library => [library.repo, library]))
  for (const { repo, head } of libraries)
    if (head !== null && !heads.has(repo)) yield `state: has head ${head} of ${repo}, the rows have none`
  for (const [repo, head] of heads) {
    const library = known.get(repo)
    if (library?.head !== head && library?.vouched !== head)
      yield `state: ${repo} at ${library?.head}, vouched ${library?.vouched}; the rows have ${head}`
  }
}

function* acknowledgedLog({ headLog, libraries }: Remembered, acknowledged: Acknowledged): Generator<string> {
  for (const [repo, said] of acknowledged) {
    const logged = headLog.get(repo) ?? []
    const lost = said.filter(head => !logged.includes(head))
    if (lost.length > 0) yield `state: the head log of ${repo} lacks ${lost.join(', ')}, which was acknowledged`
    if (!libraries.some(library => library.repo === repo)) yield `state: ${repo} is not known`
  }
}

/** The object tree of one crash state. */
class ObjectLookup {
  readonly #directories = new Map<string, ReadonlyMap<string, unknown> | undefined>()

  constructor(
    private readonly state: CrashState,
    private readonly dataDir: string,
    private readonly whole: Map<string, boolean>,
  ) {}

  /** The first that is not there, or not whole. */
  lacking(needed: Needed): string | undefined {
    for (const [directory, names] of needed) {
      const entries = this.#entries(directory)
      for (const name of names) {
        const file = entries?.get(name)
        if (!(file instanceof FileNode)) return `${directory}/${name}`
        if (!this.#isWhole(file, directory, name)) return `${directory}/${name} (damaged)`
      }
    }
    return undefined
  }

  /** Names in the object tree with bytes that are not theirs. Only what is not synced can be: the rest was looked at. */
  *strange(): Generator<string> {
    const storage = `${this.dataDir}/storage/`
    for (const file of this.state.model.dirtyFiles) {
      if (!file.path.startsWith(storage) || this.state.find(file.path) !== file) continue
      const path = file.path.slice(this.dataDir.length + 1)
      const at = path.lastIndexOf('/')
      if (!this.#isWhole(file, path.slice(0, at), path.slice(at + 1)))
        yield `store: ${path} has bytes that are not its own`
    }
  }

  #entries(directory: string): ReadonlyMap<string, unknown> | undefined {
    if (this.#directories.has(directory)) return this.#directories.get(directory)
    const node = this.state.find(`${this.dataDir}/${directory}`)
    const entries = node instanceof DirectoryNode ? this.state.entries(node) : undefined
    this.#directories.set(directory, entries)
    return entries
  }

  #isWhole(file: FileNode, directory: string, name: string): boolean {
    const { key, bytes } = this.state.content(file)
    const known = this.whole.get(key)
    if (known !== undefined) return known
    const [, kind = '', , prefix = ''] = directory.split('/')
    const is = isNamed(kind, prefix + name, bytes)
    this.whole.set(key, is)
    return is
  }
}

function isNamed(kind: string, id: string, bytes: Buffer): boolean {
  try {
    if (kind === 'commits') return (JSON.parse(bytes.toString('utf8')) as { commit_id: string }).commit_id === id
    return hash('sha1', kind === 'fs' ? inflateSync(bytes) : bytes, 'hex') === id
  } catch {
    return false
  }
}
