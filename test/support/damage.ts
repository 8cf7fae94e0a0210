/** Objects of a primary spoilt in every way that a disk, a restore or a hand can spoil them, and made good again. */

import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { deflateSync } from 'node:zlib'
import { RawObjects } from './raw-objects.js'
import type { DamagedObject, LibraryStatus } from '../../src/shared/wire/control-messages.js'
import type { Pair } from './pair.js'
import type { Kind } from './raw-objects.js'
import type { CommitId, RepoId } from '../../src/shared/ids.js'

export const HARMS = [
  'missing',
  'truncated',
  'zero-length',
  'bit-flipped',
  'wrong content',
  'a directory in its place',
] as const
export type Harm = (typeof HARMS)[number]

export const problemOf = (harm: Harm): DamagedObject['problem'] =>
  harm === 'missing' ? 'missing' : harm === 'a directory in its place' ? 'unreadable' : 'corrupt'

export const WHATS = ['commit', 'root', 'directory', 'file object', 'block'] as const
export type What = (typeof WHATS)[number]

/** An object, and where a person would look for it. */
export interface Victim {
  readonly kind: Kind
  readonly id: string
  readonly path: string | null
}

export interface Versions {
  readonly repo: RepoId
  readonly before: CommitId
  readonly old: CommitId
  readonly latest: CommitId
  /** What only the commit `old` needs, and what `latest` needs. */
  readonly victims: { readonly history: Record<What, Victim>; readonly head: Record<What, Victim> }
}

const PLAN = '/docs/plan.md'

export async function newLibrary(pair: Pair, name: string): Promise<{ repo: RepoId; before: CommitId }> {
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name, owner: 'jo@example.com' })
  const before = await writer.commit(repo, [
    { op: 'put', path: '/docs/kept.md', content: Buffer.from(`kept in ${name}`) },
    { op: 'put', path: PLAN, content: Buffer.from(`first plan of ${name}`) },
    { op: 'put', path: '/other/whole.md', content: Buffer.from(`whole in ${name}`) },
  ])
  return { repo, before }
}

/** Two more commits, each with a plan of its own. */
export async function twoVersions(pair: Pair, library: { repo: RepoId; before: CommitId }): Promise<Versions> {
  const { repo, before } = library
  const old = await putPlan(pair, repo, `plan that was given up ${repo}`)
  const latest = await putPlan(pair, repo, `plan that counts ${repo}`)
  const objects = new RawObjects(pair.primary.dataDir)
  return {
    repo,
    before,
    old,
    latest,
    victims: { history: victimsOf(objects, repo, old), head: victimsOf(objects, repo, latest) },
  }
}

export async function putPlan(pair: Pair, repo: RepoId, text: string, path = PLAN): Promise<CommitId> {
  return (await pair.writer()).commit(repo, [{ op: 'put', path, content: Buffer.from(text.padEnd(64, '.')) }])
}

export function victimsOf(objects: RawObjects, repo: RepoId, commit: CommitId): Record<What, Victim> {
  const tree = objects.tree(repo, objects.commit(repo, commit).root_id)
  const at = (kind: Kind, path: string): Victim => {
    const found = [...tree].find(([, object]) => object.kind === kind && object.path === path)
    if (!found) throw new Error(`no ${kind} at ${path}`)
    return { kind, id: found[0], path }
  }
  return {
    commit: { kind: 'commits', id: commit, path: null },
    root: at('fs', '/'),
    directory: at('fs', '/docs/'),
    'file object': at('fs', PLAN),
    block: at('blocks', PLAN),
  }
}

/** Gives back what was there. */
export function spoil(pair: Pair, repo: RepoId, { kind, id }: Victim, harm: Harm): () => void {
  const path = new RawObjects(pair.primary.dataDir).path(kind, repo, id)
  const whole = readFileSync(path)
  switch (harm) {
    case 'missing':
      rmSync(path)
      break
    case 'truncated':
      truncateSync(path, whole.byteLength >> 1)
      break
    case 'zero-length':
      truncateSync(path)
      break
    case 'bit-flipped': {
      // in a commit, whose bytes no hash covers, a bit counts only where it breaks the JSON
      const at = kind === 'commits' ? 0 : whole.byteLength >> 1
      writeFileSync(path, whole.with(at, (whole[at] ?? 0) ^ 1))
      break
    }
    case 'wrong content':
      writeFileSync(path, WRONG[kind])
      break
    case 'a directory in its place':
      rmSync(path)
      mkdirSync(path)
  }
  return () => {
    rmSync(path, { recursive: true, force: true })
    writeFileSync(path, whole)
  }
}

const WRONG: Readonly<Record<Kind, Buffer>> = {
  commits: Buffer.from('{"commit_id": "0123456789012345678901234567890123456789", "root_id": 7}'),
  fs: deflateSync('{"type": 3, "version": 1, "dirents": "none"}'),
  blocks: Buffer.from('somebody else’s block'),
}

export async function statusOf(pair: Pair, repo: RepoId): Promise<LibraryStatus> {
  for (;;) {
    const status = await pair.library(repo)
    if (!status) throw new Error(`library ${repo} is not known`)
    if (status.state !== 'syncing') return status // an event of before may look at it once more
    await delay(10)
  }
}

/** What the primary has of a commit's tree, and whether the backup has it too, byte for byte. */
export function lacking(pair: Pair, repo: RepoId, commit: CommitId): string[] {
  const theirs = new RawObjects(pair.primary.dataDir)
  const ours = new RawObjects(pair.backup.dataDir)
  const ids = [...theirs.tree(repo, theirs.commit(repo, commit).root_id)]
  return ids.flatMap(([id, { kind, path }]) => {
    if (!ours.has(kind, repo, id)) return [path]
    const same = readFileSync(theirs.path(kind, repo, id)).equals(readFileSync(ours.path(kind, repo, id)))
    return same ? [] : [`${path} differs`]
  })
}
