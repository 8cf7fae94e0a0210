/** What `status` quotes of `promote --check`: the same, without asking anybody. */

import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { Pair } from '../support/pair.js'

const quoted = async (pair: Pair, ...flags: string[]): Promise<string> =>
  /^promote --check: .*$/m.exec((await runCommand(pair, 'status', ...flags)).stdout)?.[0] ?? 'no such line'

t.test(
  'status: quotes promote --check: no dump, libraries that are behind, and of when the other tables are',
  async t => {
    await using pair = await Pair.start()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Papers', owner: 'jo@example.com' })
    await pair.until('arrived', async () => (await pair.library(repo))?.state === 'synchronized')
    await pair.settle()

    t.equal(
      await quoted(pair, '--verbose'),
      'promote --check: nothing that is known here would stop it; all 1 libraries are here as the primary was last known to have them; there is no whole dump: users, groups and shares would be lost',
    )
    t.equal(await quoted(pair), 'no such line', 'that all is well is said only where all is shown')
    await runCommand(pair, 'dumps', 'now')
    const { promotion, dumps } = await pair.status()
    t.strictSame(promotion, { stops: [], librariesLacking: 0, librariesDeleted: 0, tablesAt: dumps?.newest?.at })
    pair.primary.relay.cut() // events come, objects do not
    const head = await writer.commit(repo, [{ op: 'put', path: '/large', content: randomBytes(200_000) }])
    await pair.until('heard', async () => (await pair.library(repo))?.primaryHead === head)
    t.match(
      await quoted(pair, '--verbose'),
      /; 1 of 1 libraries would lose something; users, groups and shares would be of 20/,
    )
    const check = await runCommand(pair, 'promote', '--check')
    t.match(
      check.stdout,
      new RegExp(`not here as the primary has or had them: ${repo}`),
      'as the checklist itself says',
    )
  },
)

t.test('status: says at once what would stop a promotion, in the words of promote --check', async t => {
  await using pair = await Pair.start()
  await pair.settle()
  await runCommand(pair, 'dumps', 'now')
  const { dumps } = await pair.status()
  await pair.backup.process?.stop()
  const manifest = join(pair.backup.dir, 'seaf-backup-state', 'dumps', String(dumps?.newest?.id), 'manifest.json')
  await writeFile(manifest, (await readFile(manifest, 'utf8')).replace('"sqlite"', '"mysql"'))
  await pair.startBackup()

  const why = 'the dump is of mysql, [database] type here is sqlite'
  t.equal(await quoted(pair), `promote --check: would stop: ${why}`)
  t.match((await runCommand(pair, 'promote', '--check')).stdout, `STOP  the database: ${why}`)
})
