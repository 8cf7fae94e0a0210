import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { complaints, dumpArguments, findDumpTool } from '../../../src/primary/dump/dump-tool.js'
import { clientOptions } from '../../../src/shared/mysql-options.js'
import { mysqlDatabases, sqliteFiles } from '../../../src/primary/dump/database-names.js'
import { privilegesOn } from '../../../src/primary/mysql-grants.js'

t.test('dump tool: where none is installed it is said which are looked for, and what to install', async t => {
  await t.rejects(findDumpTool({ PATH: '/nonexistent' }), { code: 'DUMP_FAILED', message: /mariadb-dump or mysqldump/ })
  await t.rejects(findDumpTool({}), { code: 'DUMP_FAILED' })
})

t.test('dump tool: one that does not run is named', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'seaf-backup-tool-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  await writeFile(join(dir, 'mysqldump'), '#!/bin/sh\nexit 3\n')
  await chmod(join(dir, 'mysqldump'), 0o755)
  await t.rejects(findDumpTool({ PATH: dir }), { code: 'DUMP_FAILED', message: /mysqldump --version/ })
})

t.test('dump tool: no argument holds a secret, and one snapshot covers all databases', async t => {
  const tool = { path: '/usr/bin/mariadb-dump', version: 'mariadb-dump from 10.11.14-MariaDB' }
  const args = dumpArguments(tool, '/state/dump.cnf', ['a', 'b'], { ignored: ['a.Repo'], withPosition: true })
  t.equal(args[0], '--defaults-file=/state/dump.cnf')
  t.ok(args.includes('--single-transaction') && args.includes('--hex-blob') && args.includes('--ignore-table=a.Repo'))
  t.strictSame(args.slice(-3), ['--databases', 'a', 'b'])
  t.ok(args.includes('--master-data=2'))
  t.notOk(args.some(arg => /password|gtid|column-statistics/.test(arg)))
  const oraclesOf = (version: string) =>
    dumpArguments({ ...tool, version: `mysqldump  Ver ${version} for Linux` }, '/f', ['a'], {
      ignored: [],
      withPosition: true,
    })
  const oracles = oraclesOf('8.0.36')
  t.ok(oracles.includes('--source-data=2') && oraclesOf('8.4.3').includes('--source-data=2'))
  t.ok(oraclesOf('8.0.25').includes('--master-data=2'), 'before it had the other word')
  t.ok(oracles.includes('--column-statistics=0') && oracles.includes('--set-gtid-purged=OFF'))
})

t.test('dump tool: a password of any characters reaches the tool as it is', async t => {
  const config = {
    type: 'mysql',
    host: '127.0.0.1',
    port: 3306,
    user: 'sea',
    password: 'a"b\\c #;=\'',
    dbName: 'd',
  } as const
  t.match(clientOptions(config), 'password="a\\"b\\\\c #;=\'"\n')
  t.match(clientOptions(config), /protocol=tcp/)
  t.match(clientOptions({ ...config, unixSocket: '/run/s' }), /socket="\/run\/s"/)
})

t.test('dump tool: what it says on standard error is a complaint, but for its remark on its own name', async t => {
  t.equal(complaints(''), '')
  t.equal(
    complaints("mysqldump: Deprecated program name. It will be removed, use '/usr/bin/mariadb-dump' instead\n"),
    '',
  )
  t.equal(
    complaints('-- Warning: Skipping the data of table mysql.event\n\nmysqldump: x\n'),
    '-- Warning: Skipping the data of table mysql.event; mysqldump: x',
  )
})

t.test(
  'dump grants: what is given on all, on the database by name or by pattern counts, on a table it does not',
  async t => {
    t.strictSame(privilegesOn('GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION', 'seahub_db'), [
      'ALL PRIVILEGES',
    ])
    t.strictSame(privilegesOn('GRANT SELECT, SHOW VIEW ON `seahub_db`.* TO `s`@`%`', 'seahub_db'), [
      'SELECT',
      'SHOW VIEW',
    ])
    t.strictSame(privilegesOn('GRANT SELECT ON `seahub\\_db`.* TO `s`@`%`', 'seahub_db'), ['SELECT'])
    t.strictSame(privilegesOn('GRANT SELECT ON `seahub\\_db`.* TO `s`@`%`', 'seahubXdb'), [])
    t.strictSame(privilegesOn('GRANT SELECT ON `sea%`.* TO `s`@`%`', 'seahub_db'), ['SELECT'])
    t.strictSame(privilegesOn('GRANT SELECT ON `ccnet_db`.* TO `s`@`%`', 'seahub_db'), [])
    t.strictSame(privilegesOn('GRANT SELECT ON `seahub_db`.`auth` TO `s`@`%`', 'seahub_db'), [])
    t.strictSame(privilegesOn('GRANT `role` TO `s`@`%`', 'seahub_db'), [])
  },
)

t.test(
  'dump databases: what was said goes before the environment, that before files, and those before the usual names',
  async t => {
    const dir = await mkdtemp(join(tmpdir(), 'seaf-backup-names-'))
    t.teardown(() => rm(dir, { recursive: true, force: true }))
    t.strictSame(mysqlDatabases(dir, 'seafile_db', null, {}), ['seafile_db', 'ccnet_db', 'seahub_db'])
    await writeFile(join(dir, 'ccnet.conf'), '[Database]\nENGINE = mysql\nDB = cc\n')
    await writeFile(
      join(dir, 'seahub_settings.py'),
      "SECRET_KEY = 'x'\nDATABASES = {\n    'default': {\n        'ENGINE': 'django.db.backends.mysql',\n        'NAME': 'hub',\n        'USER': 'u',\n    }\n}\n",
    )
    t.strictSame(mysqlDatabases(dir, 'seafile_db', null, {}), ['seafile_db', 'cc', 'hub'])
    const env = { SEAFILE_MYSQL_DB_CCNET_DB_NAME: 'env_cc', SEAFILE_MYSQL_DB_SEAHUB_DB_NAME: 'env_hub' }
    t.strictSame(mysqlDatabases(dir, 'seafile_db', null, env), ['seafile_db', 'env_cc', 'env_hub'])
    t.strictSame(mysqlDatabases(dir, 'one', ['one', 'two'], env), ['one', 'two'])
  },
)

t.test(
  'dump databases: of the usual SQLite files those that are not there are named; one that was asked for is expected',
  async t => {
    const usual = sqliteFiles('/srv/seafile/seafile-data/seafile.db', null)
    t.strictSame(
      usual.files.map(({ name }) => name),
      ['seafile-data/seafile.db'],
    )
    t.ok(usual.absent.includes('seahub.db') && usual.absent.length === 5)
    const asked = sqliteFiles('/srv/seafile/seafile-data/seafile.db', ['seahub.db'])
    t.strictSame(asked.files[1], { name: 'seahub.db', path: '/srv/seafile/seahub.db' })
  },
)
