/** A block that another library on the backup holds does not travel: verified, it is shared; and one name never harms the other. */

import { randomBytes } from 'node:crypto'
import { rmSync, statSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { Pair } from '../support/pair.js'
import { RawObjects } from '../support/raw-objects.js'
import { sameBytes } from '../support/replica.js'
import { filesBelow, flipByte } from '../support/sides.js'
import type { RepoId } from '../../src/shared/ids.js'

const MB = 1024 * 1024

interface Scene {
  readonly pair: Pair
  readonly film: Buffer
  readonly original: RepoId
  readonly ours: RawObjects
  /** Ids of the blocks of the film. */
  readonly blocks: readonly string[]
}

/** A backup of one library that holds a film. */
async function film(): Promise<Scene> {
  const pair = await Pair.start()
  const writer = await pair.writer()
  const original = await writer.createLibrary({ name: 'Films', owner: 'jo@example.com' })
  const film = randomBytes(20 * MB)
  await writer.commit(original, [{ op: 'put', path: '/film', content: film }])
  await pair.settle()
  const ours = new RawObjects(pair.backup.dataDir)
  return { pair, film, original, ours, blocks: ours.list('blocks', original) }
}

/** As a copy between libraries does; the bytes that the primary sent for it. */
async function copied({ pair, film }: Scene): Promise<{ repo: RepoId; sent: number }> {
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Copy', owner: 'sam@example.com' })
  await pair.settle()
  const before = pair.primary.relay.bytesFromTarget
  await writer.commit(repo, [{ op: 'put', path: '/copy of film', content: film }])
  await pair.settle()
  return { repo, sent: pair.primary.relay.bytesFromTarget - before }
}

t.test('shared blocks: a file copied to another library does not travel again, also after a restart', async t => {
  const scene = await film()
  await using pair = scene.pair
  const first = await copied(scene)
  t.ok(first.sent < MB / 10, `${first.sent} bytes for a film of 20 MiB`)
  await pair.backup.process?.kill()
  await pair.startBackup()
  const second = await copied(scene)
  t.ok(second.sent < MB / 10, `${second.sent} bytes`)
  await sameBytes(t, pair)
  t.strictSame(scene.ours.list('blocks', second.repo).sort(), [...scene.blocks].sort())
  t.strictSame(await filesBelow(join(pair.backup.dataDir, 'tmpfiles')), [])
  t.equal((await runCommand(pair, 'verify', '--all', '--history', '--read-data')).code, 0)

  for (const id of scene.blocks) rmSync(scene.ours.path('blocks', scene.original, id)) // as seaf-gc removes
  t.equal((await runCommand(pair, 'verify', second.repo, '--read-data')).code, 0, 'the copy does not need the original')
})

t.test('shared blocks: what the other library has damaged, or a hint that is wrong, is fetched', async t => {
  const scene = await film()
  await using pair = scene.pair
  const { ours, original, blocks } = scene
  const [damaged = '', gone = ''] = blocks
  await flipByte(ours.path('blocks', original, damaged))
  rmSync(ours.path('blocks', original, gone))
  const { repo, sent } = await copied(scene)
  const sizes = [damaged, gone].map(id => statSync(ours.path('blocks', repo, id)).size)
  t.ok(sent > (sizes[0] ?? 0) + (sizes[1] ?? 0), 'both came')
  t.ok(sent < scene.film.byteLength, 'the third did not')
  t.equal((await runCommand(pair, 'verify', repo, '--read-data')).code, 0)

  await writeFile(join(pair.backup.dir, 'seaf-backup-state', 'blocks.idx'), randomBytes(48 * MB))
  const again = await copied(scene)
  t.equal((await runCommand(pair, 'verify', again.repo, '--read-data')).code, 0)
})

t.test('shared blocks: bytes that rot under both names are named for both, and repaired for each', async t => {
  const scene = await film()
  await using pair = scene.pair
  const { ours, original, blocks } = scene
  const { repo } = await copied(scene)
  const [block = ''] = blocks
  const areLinked =
    statSync(ours.path('blocks', repo, block)).ino === statSync(ours.path('blocks', original, block)).ino
  await flipByte(ours.path('blocks', original, block))
  if (!areLinked) await flipByte(ours.path('blocks', repo, block)) // a clone: only the sectors are shared
  const found = await runCommand(pair, 'verify', '--all', '--read-data')
  t.equal(found.code, 1)
  for (const id of [original, repo]) t.match(found.stdout, id)

  await pair.sync(original, false, true)
  t.equal((await runCommand(pair, 'verify', original, '--read-data')).code, 0)
  t.equal((await runCommand(pair, 'verify', repo, '--read-data')).code, 1, 'the other file is as it was')
  await pair.sync(repo, false, true)
  t.equal((await runCommand(pair, 'verify', '--all', '--history', '--read-data')).code, 0)
  await sameBytes(t, pair)
})
