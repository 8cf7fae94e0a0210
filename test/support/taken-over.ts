/** A pair whose primary was taken over by somebody who has the token, and what he makes up. */

import { hash, randomUUID } from 'node:crypto'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { DIGEST, FakePrimary } from './fake-primary.js'
import { idOf } from './objects.js'
import { Pair } from './pair.js'
import type { Test } from 'tap'
import type { CommitId, RepoId } from '../../src/shared/ids.js'

export const NOTHING = '0'.repeat(40)
export const newRepo = () => randomUUID() as RepoId

export interface MadeUp {
  readonly id: string
  readonly bytes: Buffer
}

export function commitOf(repo: RepoId, name: string, rootId: string, more: object = {}): MadeUp {
  const id = idOf(name)
  const json = { commit_id: id, repo_id: repo, root_id: rootId, parent_id: null, second_parent_id: null, ctime: 1 }
  return { id, bytes: Buffer.from(JSON.stringify({ ...json, ...more })) }
}

/** Every file of a directory by its path, as a digest. */
export function filesOf(dir: string): Map<string, string> {
  const paths = readdirSync(dir, { recursive: true, withFileTypes: true }).filter(file => file.isFile())
  return new Map(
    paths.map(file => {
      const path = join(file.parentPath, file.name)
      return [relative(dir, path), existsSync(path) ? hash('sha1', readFileSync(path), 'hex') : '']
    }),
  )
}

export interface Stage extends AsyncDisposable {
  readonly pair: Pair
  readonly fake: FakePrimary
  /** A library that was copied while the primary was good: its commits, oldest first. */
  readonly repo: RepoId
  readonly commits: readonly string[]
  readonly objects: Map<string, string>
}

/** A pair that worked until its primary was taken over. */
export async function takenOver(): Promise<Stage> {
  const pair = await Pair.start()
  const fake = await FakePrimary.start()
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Good', owner: 'jo@example.com' })
  const commits: string[] = []
  const now = Math.floor(Date.now() / 1000)
  for (let n = 0; n < 3; n++) {
    const change = { op: 'put', path: `/${n}.txt`, content: Buffer.from(`text ${n}`) } as const
    commits.push(await writer.commit(repo, [change], { ctime: now - 300 + 60 * n }))
  }
  await pair.settle()
  await pair.primary.process?.stop()
  const objects = filesOf(join(pair.backup.dataDir, 'storage'))
  pair.primary.relay.target = fake.port
  fake.more = [{ repo, head: commits.at(-1) as CommitId, digest: DIGEST }]
  const dispose = async () => {
    await pair[Symbol.asyncDispose]()
    await fake[Symbol.asyncDispose]()
  }
  return { pair, fake, repo, commits, objects, [Symbol.asyncDispose]: dispose }
}

export function expectGoodObjects(t: Test, { pair, objects }: Stage): void {
  const now = filesOf(join(pair.backup.dataDir, 'storage'))
  for (const [path, digest] of objects) t.equal(now.get(path), digest, `${path} is as it was`)
}

/** Sweeps, and resolves to the code with which the library failed; 'synchronized' when it did not. */
export async function outcome(pair: Pair, repo: RepoId): Promise<string> {
  let code = ''
  await pair.until(`${repo} judged`, async () => {
    const library = await pair.library(repo)
    code = library?.state === 'synchronized' ? 'synchronized' : (library?.failure?.code ?? '')
    return code !== ''
  })
  return code
}
