/**
 * Whether a backup that nobody runs is what it should be: read from its files and databases alone, with no code of the
 * product.
 *
 * Its SQLite files are read as copies: what a killed daemon left in journals is for its own next start to find.
 */

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { RawObjects } from '../support/raw-objects.js'
import { ClosureCheck } from './closure-check.js'
import { checkTables, readCopy } from './read-copy.js'
import type { DatabaseConfig } from '../../src/shared/catalog/database-config.js'
import type { CopyRows } from './read-copy.js'

/** Batches of all threads at once, written and not yet renamed (sizes: failpoints.ts). */
const TEMP_FILES_MAX = 600
const STATE_FILES = /^(state\.db(-wal|-shm|-journal)?|blocks\.idx|lock(-journal)?|control\.sock|dumps|binlog)$/
/** One start that was killed in the middle, and no more: the next one has to clear it away. */
const STATE_TEMPS_MAX = 1

export interface Look {
  readonly problems: readonly string[]
  readonly heads: ReadonlyMap<string, string>
  /** Left by the killed daemon: the next start removes them. */
  readonly temps: readonly string[]
  /** The state does not know of these heads: killed between rows and state. */
  readonly unrecorded: readonly string[]
}

export interface CopyPlace {
  readonly dataDir: string
  readonly stateDir: string
  readonly database: DatabaseConfig
  /** Of the primary, which keeps every commit: for whether one head descends from another. */
  readonly primaryDataDir: string
}

export class ColdCopy {
  readonly #closure: ClosureCheck
  readonly #theirs: RawObjects
  #everything = true

  constructor(private readonly place: CopyPlace) {
    this.#closure = new ClosureCheck(place.dataDir)
    this.#theirs = new RawObjects(place.primaryDataDir)
  }

  /** The next look is at every byte: at what was found whole so far, and at what no head names. */
  forget(): void {
    this.#closure.forget()
    this.#everything = true
  }

  /** `acknowledged`: heads that somebody was told are safe. */
  async look(acknowledged: ReadonlyMap<string, ReadonlySet<string>>): Promise<Look> {
    const copy = await readCopy(this.place)
    const damage = [...copy.damage, ...(await checkTables(this.place.database))]
    const temps = namesIn(join(this.place.dataDir, 'tmpfiles', 'seaf-backup'))
    const problems = [
      ...damage,
      ...this.#broken(copy),
      ...this.#lost(copy, acknowledged),
      ...rowProblems(copy),
      ...stateProblems(copy),
      ...logProblems(copy, (repo, id) => this.#closure.hasCommit(repo, id)),
      ...this.#leftovers(temps),
      ...(this.#everything ? this.#closure.strangers() : []),
    ]
    this.#everything = false
    const unrecorded = [...copy.branches].filter(([repo, head]) => copy.states.get(repo)?.head !== head)
    return { problems, heads: copy.branches, temps, unrecorded: unrecorded.map(([repo]) => repo) }
  }

  #broken({ branches, origins, limits }: CopyRows): string[] {
    const problems: string[] = []
    for (const [repo, head] of branches) {
      const storeId = origins.get(repo) ?? repo
      // of a sub-library the rule is the origin's, which may have grown wider since: the head alone is owed for sure
      const headAlone = storeId !== repo || limits.get(repo) === 0
      try {
        this.#closure.expectWhole({ repo, storeId, head, headAlone })
      } catch (error) {
        problems.push(`${repo}: head ${head} is not whole: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    return problems
  }

  #lost({ branches }: CopyRows, acknowledged: ReadonlyMap<string, ReadonlySet<string>>): string[] {
    const problems: string[] = []
    for (const [repo, heads] of acknowledged) {
      const head = branches.get(repo)
      for (const told of heads) {
        if (head !== undefined && this.#descends(repo, head, told)) continue
        problems.push(`${repo}: ${told} was acknowledged, and the head is ${head ?? 'none'}, which is no descendant`)
      }
    }
    return problems
  }

  #descends(repo: string, head: string, ancestor: string): boolean {
    const seen = new Set<string>()
    const waiting = [head]
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
      if (id === ancestor) return true
      if (seen.has(id) || !this.#theirs.has('commits', repo, id)) continue
      seen.add(id)
      const { parent_id, second_parent_id } = this.#theirs.commit(repo, id)
      for (const parent of [parent_id, second_parent_id]) if (parent) waiting.push(parent)
    }
    return false
  }

  #leftovers(temps: readonly string[]): string[] {
    const strange = namesIn(this.place.stateDir).filter(name => !STATE_FILES.test(name))
    return [
      ...(temps.length > TEMP_FILES_MAX ? [`${temps.length} temp files`] : []),
      ...(strange.length > STATE_TEMPS_MAX ? [`the state directory holds ${strange.join(', ')}`] : []),
    ]
  }
}

/** Each Branch row has the rows that make it a library, and none of these is without one. */
function rowProblems({ branches, repos, branchNames, owners }: CopyRows): string[] {
  const problems: string[] = []
  for (const repo of branches.keys()) {
    if (!repos.has(repo)) problems.push(`${repo}: Branch row without a Repo row`)
    if (branchNames.get(repo) !== 'master') problems.push(`${repo}: RepoHead row says ${branchNames.get(repo)}`)
    if (!owners.has(repo)) problems.push(`${repo}: no RepoOwner row`)
  }
  for (const repo of [...repos, ...owners.keys()])
    if (!branches.has(repo)) problems.push(`${repo}: rows without a Branch row`)
  return problems
}

/** The state names the head of the rows, or vouches for it: killed after the rows, before the state. */
function stateProblems({ branches, states }: CopyRows): string[] {
  const problems: string[] = []
  for (const [repo, head] of branches) {
    const state = states.get(repo)
    if (state?.head !== head && state?.vouched !== head)
      problems.push(`${repo}: the state is at ${state?.head}, vouches for ${state?.vouched}, and Branch is at ${head}`)
  }
  for (const [repo, { head }] of states)
    if (head !== null && !branches.has(repo))
      problems.push(`${repo}: the state is at ${head}, and there is no Branch row`)
  return problems
}

/** One entry after the other: the last is the state's head, each displaced the one before, each commit is here. */
function logProblems({ states, log }: CopyRows, hasCommit: (repo: string, id: string) => boolean): string[] {
  const problems: string[] = []
  const last = new Map<string, string>()
  for (const { repo, head, displaced } of log) {
    const before = last.get(repo) ?? null
    if (displaced !== before)
      problems.push(`${repo}: head log: ${head} displaced ${displaced}, the entry before is ${before}`)
    if (!hasCommit(repo, head)) problems.push(`${repo}: head log: ${head} has no commit object`)
    last.set(repo, head)
  }
  for (const [repo, { head }] of states)
    if (head !== (last.get(repo) ?? null))
      problems.push(`${repo}: the state is at ${head}, the head log at ${last.get(repo)}`)
  return problems
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir)
  } catch {
    return [] // not made yet
  }
}
