/** Data that is odd but legal, laid on a primary by hand, and what must then be true of the backup. */

import { hash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { deflateFs, encodeFs } from '../../src/shared/seafile/encode.js'
import { fixturesMissing, referenceCheck } from './fixtures.js'
import { idOf } from './objects.js'
import { RawObjects } from './raw-objects.js'
import { figures } from './replica.js'
import { ServerActs } from './server-acts.js'
import type { Test } from 'tap'
import type { FsObject } from '../../src/shared/seafile/objects.js'
import type { ExpectedLibrary } from './fixtures.js'
import type { Pair } from './pair.js'

type Json = Record<string, unknown>

const OBJECT = /^(commits|fs|blocks)\/[^/]+\/[0-9a-f]{2}\/[0-9a-f]{38}$/

/** SHA-1 of each object file, by its path below `storage`; what lies beside objects is not among them. */
export async function objectFiles(dataDir: string): Promise<Record<string, string>> {
  const storage = join(dataDir, 'storage')
  const names = (await readdir(storage, { recursive: true })).filter(name => OBJECT.test(name)).sort()
  return Object.fromEntries(names.map(name => [name, hash('sha1', readFileSync(join(storage, name)), 'hex')]))
}

/** Each library synchronized, each object file of the primary on the backup byte for byte, and nothing besides. */
export async function expectSame(
  t: Test,
  pair: Pair,
  options: { notOwed?: readonly string[]; reader?: boolean } = {},
): Promise<void> {
  await pair.sync(null) // and with it the rows that a server writes after its commits
  const unsynchronized = (await pair.status()).libraries.filter(library => library.state !== 'synchronized')
  t.strictSame(unsynchronized, [], 'every library is synchronized')
  t.strictSame(await pair.heads('backup'), await pair.heads('primary'), 'heads')
  const theirs = await objectFiles(pair.primary.dataDir)
  for (const id of options.notOwed ?? [])
    for (const name of Object.keys(theirs)) if (name.replaceAll('/', '').endsWith(id)) delete theirs[name]
  t.strictSame(await objectFiles(pair.backup.dataDir), theirs, 'object files')
  if (fixturesMissing() || options.reader === false) return
  const [wanted, found] = [await readBy(pair, 'primary'), await readBy(pair, 'backup')]
  t.strictSame(
    found.map(library => [library.id, figures(library)]),
    wanted.map(library => [library.id, figures(library)]),
    'an independent reader finds the same',
  )
  const damaged = found.flatMap(({ head_state, kept_history }) => [head_state, kept_history])
  t.strictSame(
    damaged.flatMap(state => state.damaged_paths),
    [],
    'and nothing damaged',
  )
}

async function readBy(pair: Pair, side: 'primary' | 'backup'): Promise<readonly ExpectedLibrary[]> {
  const { libraries } = await referenceCheck(pair[side].dataDir, pair[side].database, Math.floor(Date.now() / 1000))
  return [...libraries].sort((a, b) => (a.id < b.id ? -1 : 1))
}

/** A primary's files, changed past the writer. */
export class ByHand {
  readonly objects: RawObjects
  readonly acts: ServerActs

  constructor({ primary }: Pair) {
    this.objects = new RawObjects(primary.dataDir)
    this.acts = new ServerActs(primary.dataDir, primary.database)
  }

  put(kind: 'commits' | 'fs' | 'blocks', storeId: string, id: string, bytes: Uint8Array): void {
    const path = this.objects.path(kind, storeId, id)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, bytes)
  }

  putFs(storeId: string, object: FsObject): string {
    const { id, json } = encodeFs(object)
    this.put('fs', storeId, id, deflateFs(json))
    return id
  }

  putBlock(storeId: string, bytes: Buffer): string {
    const id = hash('sha1', bytes, 'hex')
    this.put('blocks', storeId, id, bytes)
    return id
  }

  /** On the head, with its fields where `fields` has no others, and an id that no algorithm gives; then `Branch` moves. */
  async commit(
    repo: string,
    fields: Json,
    encode = (json: Json): Buffer => Buffer.from(JSON.stringify(json)),
  ): Promise<string> {
    const head = await this.acts.head(repo)
    const id = idOf(`commit on ${head}`)
    const json = { ...this.objects.commit(repo, head), parent_id: head, ...fields, commit_id: id }
    this.put('commits', repo, id, encode(json))
    await this.acts.moveBranch(repo, id)
    return id
  }

  /** Each commit of a library again under its id, with more fields: an id covers neither names nor encryption. */
  rewriteCommits(repo: string, fields: Json): void {
    for (const id of this.objects.list('commits', repo)) {
      const json = { ...this.objects.commit(repo, id), ...fields }
      this.put('commits', repo, id, Buffer.from(JSON.stringify(json)))
    }
  }
}
