/** The servers' own client: it is told the password, and nobody finds it afterwards. */

import { chmod, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { MysqlClient } from '../../../src/backup/restore/mysql-client.js'

const never = new AbortController().signal

t.test('mysql client: the password is on no command line and in no file that a kill would leave', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'sbc-'))
  const { PATH, TMPDIR } = process.env
  t.teardown(async () => {
    process.env['PATH'] = PATH
    if (TMPDIR === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = TMPDIR
    await rm(dir, { recursive: true })
  })
  const bin = await mkdtemp(join(dir, 'bin-'))
  const temp = await mkdtemp(join(dir, 'tmp-'))
  // as the client does: reads its options, then SQL to its end
  const script = `#!/bin/sh\necho "$@" >> ${dir}/args; ls -A ${temp} >> ${dir}/left; cat "\${1#--defaults-file=}"; cat > /dev/null\n`
  await writeFile(join(bin, 'mariadb'), script)
  await chmod(join(bin, 'mariadb'), 0o755)
  process.env['PATH'] = `${bin}:${PATH}`
  process.env['TMPDIR'] = temp
  using client = new MysqlClient({ host: 'db.example.com', port: 3306, user: 'sea', password: 'hunter2' })

  for (const time of ['once', 'and again']) {
    const said = await client.ask('SELECT 1;', never)

    t.match(said, /^user="sea"\npassword="hunter2"$/m, time)
  }
  t.notMatch(await readFile(join(dir, 'args'), 'utf8'), /hunter2/)
  t.equal(await readFile(join(dir, 'left'), 'utf8'), '')
  t.strictSame(await readdir(temp), [])
})
