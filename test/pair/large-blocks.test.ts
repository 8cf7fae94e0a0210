/** Large blocks, which come in parts: what is not what its name says, or breaks off, leaves nothing. */

import { hash } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ID_BYTES, parseBlockId } from '../../src/shared/ids.js'
import { deflateFs, encodeFs } from '../../src/shared/seafile/encode.js'
import { FRAME, encodeBlockRef, frameHeader } from '../../src/shared/wire/frames.js'
import { rowsOf } from '../support/fake-primary.js'
import { entry, idOf } from '../support/objects.js'
import { commitOf, expectGoodObjects, newRepo, outcome, takenOver } from '../support/taken-over.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Answer, Lie } from '../support/fake-primary.js'

/** A file of one large block, which is named and asked for; `send` answers. */
function oneLargeBlock(repo: RepoId, block: string, send: (answer: Answer) => Promise<void>): Lie {
  const { id, json } = encodeFs({ type: 'file', size: LARGE_BYTES, blocks: [parseBlockId(block)] })
  const file = { id, bytes: deflateFs(json) }
  const { id: root, json: rootJson } = encodeFs({ type: 'dir', entries: [entry('film.mkv', id)] })
  const commit = commitOf(repo, `commit of ${block}`, root)
  return {
    head: commit.id,
    async delta(answer) {
      await answer.library(rowsOf(repo, commit.id))
      await answer.object(FRAME.commit, commit.id, commit.bytes)
      await answer.frame(FRAME.trees)
      await answer.frame(FRAME.tree, Buffer.from(commit.id, 'hex'))
      for (const one of [{ id: root, bytes: deflateFs(rootJson) }, file])
        await answer.object(FRAME.fs, one.id, one.bytes)
      await answer.frame(FRAME.blockRef, encodeBlockRef(block, LARGE_BYTES))
      await answer.end()
    },
    objects: send,
  }
}

const LARGE_BYTES = 3_000_000

t.test('large blocks: of one that is another, or breaks off, nothing stays, and it is asked for again', async t => {
  await using stage = await takenOver()
  const { pair, fake } = stage
  const temp = join(pair.backup.dataDir, 'tmpfiles', 'seaf-backup')
  const bytes = Buffer.alloc(LARGE_BYTES, 'a film')
  const id = hash('sha1', bytes, 'hex')
  const other = idOf('a film that nobody has')
  const [wrong, cut] = [newRepo(), newRepo()]
  fake.lies.set(
    wrong,
    oneLargeBlock(wrong, other, async answer => {
      await answer.object(FRAME.block, other, Buffer.alloc(LARGE_BYTES, 'another'))
      await answer.end()
    }),
  )
  let asked = 0
  fake.lies.set(
    cut,
    oneLargeBlock(cut, id, async answer => {
      if (asked++ > 0) {
        await answer.object(FRAME.block, id, bytes)
        return answer.end()
      }
      const frame = Buffer.concat([frameHeader(FRAME.block, ID_BYTES + LARGE_BYTES), Buffer.from(id, 'hex'), bytes])
      await answer.raw(frame.subarray(0, LARGE_BYTES / 2))
      answer.cut()
    }),
  )
  await pair.sync(null)
  t.equal(await outcome(pair, wrong), 'OBJECT_CORRUPT')
  await pair.until('asked again', async () => (await pair.library(cut))?.state === 'synchronized')
  t.ok(asked > 1)
  const stored = (repo: RepoId, block: string) =>
    existsSync(join(pair.backup.dataDir, 'storage/blocks', repo, block.slice(0, 2), block.slice(2)))
  t.strictSame([stored(wrong, other), stored(cut, id)], [false, true])
  t.strictSame(readdirSync(temp), [])
  expectGoodObjects(t, stage)
})
