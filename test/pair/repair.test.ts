/** Damage on the backup's own disk: found by `verify`, repaired by `sync --full`, never by believing. */

import { rm, truncate } from 'node:fs/promises'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { Pair } from '../support/pair.js'
import { RawObjects } from '../support/raw-objects.js'
import { ServerActs } from '../support/server-acts.js'
import { flipByte } from '../support/sides.js'

const HURTS = { missing: (path: string) => rm(path), 'cut off': (path: string) => truncate(path, 9), flipped: flipByte }

t.test(
  'repair: verify names each damaged object of the copy, sync --full brings it back, and nothing else travels twice',
  async t => {
    await using pair = await Pair.start()
    await pair.settle()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Papers', owner: 'jo@example.com' })
    const big = Buffer.alloc(5_000_000, 'big')
    await writer.commit(repo, [{ op: 'put', path: '/big.bin', content: big }])
    for (const name of Object.keys(HURTS)) {
      const content = Buffer.from(`content of ${name}`)
      await writer.commit(repo, [{ op: 'put', path: `/${name}/file.txt`, content }])
    }
    const head = await new ServerActs(pair.primary.dataDir, pair.primary.database).head(repo)
    await pair.until('recorded', async () => (await pair.library(repo))?.head === head)
    t.equal((await runCommand(pair, 'verify', '--all', '--history', '--read-data')).code, 0, 'whole before')

    const ours = new RawObjects(pair.backup.dataDir)
    const objects = [...ours.tree(repo, ours.commit(repo, head).root_id)]
    const hurt: string[] = []
    for (const [name, harm] of Object.entries(HURTS)) {
      for (const [id, { kind, path }] of objects) {
        if (!path.startsWith(`/${name}/`)) continue
        await harm(ours.path(kind, repo, id))
        hurt.push(id)
      }
    }
    t.equal(hurt.length, 9, 'a folder, a file and a block of each')

    const found = await runCommand(pair, 'verify', repo, '--read-data')
    t.equal(found.code, 1)
    for (const name of Object.keys(HURTS)) t.match(found.stdout, `${repo} /${name}/`)

    const before = pair.primary.relay.bytesFromTarget
    const [, synced] = (await pair.sync(repo, false, true)).filter(({ type }) => type !== 'progress')
    t.match(synced, { type: 'library', library: { state: 'synchronized', holes: 0, failure: null } })
    t.ok(pair.primary.relay.bytesFromTarget - before < 1_000_000, 'large blocks that are whole did not travel')
    t.equal((await runCommand(pair, 'verify', '--all', '--history', '--read-data')).code, 0, 'whole again')
    const theirs = new RawObjects(pair.primary.dataDir)
    t.strictSame(
      objects.filter(([id, { kind }]) => !ours.bytes(kind, repo, id).equals(theirs.bytes(kind, repo, id))),
      [],
      "byte for byte the primary's",
    )
  },
)
