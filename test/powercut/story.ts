/** A recorded backup, judged: who is asked what of a crash state of it. */

import { mkdtemp, rm } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import { sqlOn } from '../support/sql.js'
import { Closures } from './closures.js'
import { Verifier } from './verifier.js'
import type { Judge } from './replay.js'
import type { Ignored } from './disk-model.js'
import type { Recorded } from './workload.js'

const MEMORY = '/dev/shm'

/** Copies of databases are made by the thousand: in memory, where there is such a directory. */
export async function scratchDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'sbp-cut-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** A new one for each replay: it remembers contents by the numbers of one model. */
export async function judgeOf({ pair, recording }: Recorded, scratch: string): Promise<Judge> {
  const later = new Acknowledgements()
  for (const operation of recording.operations) if (operation.kind === 'said') later.hear(operation.text)
  const closures = new Closures(pair.primary.dataDir)
  const rows = await sqlOn(pair.primary.database).select('SELECT repo_id, origin_repo FROM VirtualRepo')
  const origins = new Map(rows.map(([repo, origin]) => [String(repo), String(origin)]))
  const verifier = new Verifier({ root: recording.root, scratch }, closures, { later: later.heads, origins })
  const until = new Acknowledgements()
  let heard = 0
  return (state, said) => {
    for (; heard < said.length; heard++) until.hear(said[heard] as string)
    return verifier.problems(state, until.heads)
  }
}

export class Acknowledgements {
  readonly heads = new Map<string, string[]>()

  hear(text: string): void {
    for (const line of text.split('\n')) {
      if (!line.includes('"head recorded"')) continue
      const { repo, head } = JSON.parse(line) as { repo: string; head: string }
      this.heads.set(repo, [...(this.heads.get(repo) ?? []), head])
    }
  }
}

/** Syncs of one class of files that do nothing, for the proof that the verifier would see it. */
export const WITHOUT: Readonly<Record<string, Ignored>> = {
  'objects, data': (path, isDirectory) => path !== null && !isDirectory && path.includes('/tmpfiles/'),
  'objects, directories': (path, isDirectory) => path !== null && isDirectory && path.includes('/storage'),
  'objects, whole file system': path => path === null,
  state: path => path !== null && path.includes('/seaf-backup-state'),
  rows: path => path !== null && /\/seafile\.db[^/]*$/.test(path),
}
