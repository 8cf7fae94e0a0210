import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { BACKUP_KEYS, readBackupConfig, readPrimaryConfig } from '../../src/shared/config.js'
import { BackupError } from '../../src/shared/errors.js'
import { parseKeyFile } from '../../src/shared/key-file.js'
import type { Test } from 'tap'
import type { DirectoryFlags } from '../../src/shared/directories.js'

const EXAMPLE = new URL('../../../conf/seafile.conf.example', import.meta.url)
const TOKEN = '0123456789abcdef0123456789abcdef01234567'
const PRIMARY = `[backup]\nbackup_url = wss://backup.example.com\nsync_token = ${TOKEN}\n`
const BACKUP = `[backup]\nprimary_url = https://primary.example.com\nsync_token = ${TOKEN}\n`
const SQLITE = '[database]\ntype = sqlite\n'

/** A Seafile installation that consists of a seafile.conf. */
async function install(t: Test, conf: string, mode = 0o640): Promise<{ root: string; flags: DirectoryFlags }> {
  const root = await mkdtemp(join(tmpdir(), 'seaf-backup-config-'))
  t.teardown(() => rm(root, { recursive: true, force: true }))
  await mkdir(join(root, 'conf'))
  await writeFile(join(root, 'conf', 'seafile.conf'), conf)
  await chmod(join(root, 'conf', 'seafile.conf'), mode)
  return { root, flags: { conf: join(root, 'conf') } }
}

function refusal(read: () => unknown): { text: string; problems: string[] } {
  try {
    read()
  } catch (error) {
    if (error instanceof BackupError && error.code === 'CONFIG_INVALID') {
      return { text: error.message, problems: (error.details['problems'] ?? []) as string[] }
    }
    throw error
  }
  throw new Error('the config was accepted')
}

t.test('config: many mistakes are reported in one error, each with key and rule, and no secret in it', async t => {
  const { flags } = await install(
    t,
    `[backup]
backup_url = ftp://backup
sync_token = ${TOKEN.slice(1)}
listen = 8087
workers = 17
max_rate = fast
max_cpu = 4
heads_poll_interval = 0
tls_cert = nowhere.pem
[database]
type = pgsql
password = hunter2
port = 0
[history]
keep_days = some
`,
  )
  const { text, problems } = refusal(() => readPrimaryConfig(flags, {}))

  const keys = problems.map(p => p.split(' ').slice(0, 2).join(' '))
  t.strictSame(
    keys.toSorted(),
    [
      '[backup] backup_url',
      '[backup] heads_poll_interval',
      '[backup] listen',
      '[backup] max_cpu',
      '[backup] max_rate',
      '[backup] sync_token',
      '[backup] tls_cert',
      '[backup] tls_key',
      '[backup] workers',
      '[database] db_name',
      '[database] port',
      '[database] type',
      '[database] user',
      '[history] keep_days',
    ].toSorted(),
  )
  t.match(text, '39 characters')
  t.match(text, 'ftp://backup')
  t.notMatch(text, TOKEN.slice(1))
  t.notMatch(text, 'hunter2')
})

t.test('config: more than two tokens, or one of two that is too short, are refused without being repeated', async t => {
  const other = 'fedcba9876543210'.repeat(3).slice(0, 40)
  for (const [value, rule] of [
    [`${other} ${TOKEN.slice(1)}`, /40 and 39 characters/],
    [`${other}, ${TOKEN}, ${TOKEN}`, /there are 3/],
    [',', /not set/],
  ] as const) {
    const { flags } = await install(t, PRIMARY.replace(TOKEN, value) + SQLITE)
    const { text } = refusal(() => readPrimaryConfig(flags, {}))
    t.match(text, rule)
    t.notMatch(text, TOKEN.slice(1))
    t.notMatch(text, other)
  }
})

t.test('config: two tokens are read in their order, separated by a comma, spaces or both', async t => {
  const other = 'F'.repeat(40)
  for (const between of [',', ' ', ', ', ' , ']) {
    const { flags } = await install(t, PRIMARY.replace(TOKEN, other + between + TOKEN) + SQLITE)
    t.strictSame(readPrimaryConfig(flags, {}).syncTokens, [other.toLowerCase(), TOKEN])
  }
})

t.test('config: no directory given, no seafile.conf there, or not one: the error says what to do', async t => {
  t.match(refusal(() => readPrimaryConfig({}, {})).text, '--conf DIR')
  t.match(
    refusal(() => readPrimaryConfig({ conf: join(tmpdir(), 'nowhere-at-all') }, {})).text,
    /seafile\.conf.*--conf/,
  )

  const { root, flags } = await install(t, PRIMARY + SQLITE)
  await writeFile(join(root, 'conf', 'seafile.conf'), Buffer.from([0x5b, 0xff, 0xfe]))
  t.match(refusal(() => readPrimaryConfig(flags, {})).text, 'seafile.conf')
})

t.test('config: the least that a primary needs, and what it then gets by default', async t => {
  const { root, flags } = await install(t, PRIMARY + SQLITE)
  const config = readPrimaryConfig(flags, {})

  t.match(config, {
    role: 'primary',
    confDir: join(root, 'conf'),
    dataDir: join(root, 'seafile-data'),
    stateDir: join(root, 'seaf-backup-state'),
    database: { type: 'sqlite', path: join(root, 'seafile-data', 'seafile.db') },
    historyKeepDays: null,
    syncTokens: [TOKEN],
    listen: { host: '0.0.0.0', port: 8087 },
    tls: null,
    caFile: null,
    workers: 2,
    maxRate: 0,
    maxCpu: 0,
    headsPollIntervalMs: 1000,
    warnings: [],
  })
  t.equal(config.backupUrl.href, 'wss://backup.example.com/')
  t.ok(Object.isFrozen(config) && Object.isFrozen(config.database) && Object.isFrozen(config.warnings))
})

t.test('config: the least that a backup needs, and what it then gets by default', async t => {
  const { flags } = await install(t, BACKUP + SQLITE)
  const config = readBackupConfig(flags, {})
  t.match(config, {
    role: 'backup',
    listen: { host: '0.0.0.0', port: 8086 },
    sweepIntervalMs: 3_600_000,
    rpoMs: 7_200_000,
  })
  t.equal(config.primaryUrls[0]?.href, 'https://primary.example.com/')
})

t.test('config: every key is read in its unit', async t => {
  const { root, flags } = await install(
    t,
    `[backup]
backup_url = http://127.0.0.1:8086/seaf-backup
primary_url = http://127.0.0.1:8087
sync_token = ${TOKEN.toUpperCase()}
listen = [::1]:0
tls_cert = cert.pem
tls_key = cert.pem
ca_file = cert.pem
workers = 16
max_rate = 1.5M
max_cpu = 150
heads_poll_interval = 0.25
sync_poll_interval = 0.5
[history]
keep_days = -1
${SQLITE}`,
  )
  const pem = join(root, 'conf', 'cert.pem')
  await writeFile(pem, '')
  const primary = readPrimaryConfig(flags, {})

  t.match(primary, {
    syncTokens: [TOKEN],
    listen: { host: '::1', port: 0 },
    tls: { certFile: pem, keyFile: pem },
    caFile: pem,
    workers: 16,
    maxRate: 1.5 * 1024 * 1024,
    maxCpu: 150,
    headsPollIntervalMs: 250,
    historyKeepDays: -1,
    warnings: [],
  })
  t.equal(primary.backupUrl.href, 'ws://127.0.0.1:8086/seaf-backup', 'http stands for ws')
  t.equal(readBackupConfig(flags, {}).sweepIntervalMs, 1_800_000)
})

t.test('config: a max_cpu below 5 or above 1600 percent, or no whole number, is refused; 0 is no limit', async t => {
  const readWith = async (value: string) => {
    const { flags } = await install(t, `${PRIMARY}max_cpu = ${value}\n${SQLITE}`)
    return () => readPrimaryConfig(flags, {})
  }
  for (const value of ['4', '1601', '-5', '12.5', '50%', 'half'])
    t.match(refusal(await readWith(value)).problems, [/^\[backup\] max_cpu .* from 5 to 1600 or 0 \(no limit\)/], value)
  for (const [value, percent] of [
    ['0', 0],
    ['5', 5],
    ['1600', 1600],
  ] as const)
    t.equal((await readWith(value))().maxCpu, percent)
})

t.test('config: an rpo of zero, below it, no number or past two weeks is refused', async t => {
  for (const minutes of ['0', '-1', '20161', 'never']) {
    const { flags } = await install(t, `${BACKUP}rpo = ${minutes}\n${SQLITE}`)
    t.match(
      refusal(() => readBackupConfig(flags, {})).problems,
      [/^\[backup\] rpo must be a number \(minutes\)/],
      minutes,
    )
  }
})

t.test('config: rpo is in minutes and may be a fraction; not set, it is twice the sweep interval', async t => {
  const rpoOf = async (lines: string) => {
    const { flags } = await install(t, `${BACKUP}${lines}${SQLITE}`)
    const { rpoMs, warnings } = readBackupConfig(flags, {})
    t.strictSame(warnings, [])
    return rpoMs
  }
  t.equal(await rpoOf('rpo = 15\n'), 900_000)
  t.equal(await rpoOf('rpo = 0.025\n'), 1_500)
  t.equal(await rpoOf('sync_poll_interval = 0.25\n'), 1_800_000)
  t.equal(await rpoOf('sync_poll_interval = 168\nrpo = 20160\n'), 1_209_600_000)
})

t.test('config: an address with a password in it is refused and not repeated', async t => {
  for (const url of ['https://admin:hunter2@primary', 'ftp://admin:hunter2@primary']) {
    const { flags } = await install(t, `${BACKUP}primary_url = ${url}\n${SQLITE}`)
    const { text } = refusal(() => readBackupConfig(flags, {}))
    t.match(text, 'primary_url')
    t.notMatch(text, 'hunter2')
  }
})

t.test('config: a sweep never, or less than once a week, is refused', async t => {
  for (const hours of ['0', '-1', '169', 'often', '1e3', 'Infinity']) {
    const { flags } = await install(t, `${BACKUP}sync_poll_interval = ${hours}\n${SQLITE}`)
    t.match(refusal(() => readBackupConfig(flags, {})).problems, [/^\[backup\] sync_poll_interval/], hours)
  }
})

t.test('config: MySQL is the default, and a password reaches it as it stands', async t => {
  const database = String.raw`[database]
host = db.example.com
port = 3307
unix_socket = /run/mysqld.sock
user = seafile
password = p;a#s"s=w with 'spaces'
db_name = seafile_db
`
  const { flags } = await install(t, PRIMARY + database)
  t.strictSame(readPrimaryConfig(flags, {}).database, {
    type: 'mysql',
    host: 'db.example.com',
    port: 3307,
    unixSocket: '/run/mysqld.sock',
    user: 'seafile',
    password: `p;a#s"s=w with 'spaces'`,
    dbName: 'seafile_db',
  })
})

t.test('config: the environment of a Docker set-up goes before the file, empty variables do not', async t => {
  const { flags } = await install(t, `${PRIMARY}[database]\nhost = other\nuser = seafile\n`)
  const env = {
    SEAFILE_MYSQL_DB_HOST: 'db',
    SEAFILE_MYSQL_DB_PORT: '3308',
    SEAFILE_MYSQL_DB_USER: '',
    SEAFILE_MYSQL_DB_PASSWORD: 'hunter2',
    SEAFILE_MYSQL_DB_SEAFILE_DB_NAME: 'seafile_db',
  }
  t.match(readPrimaryConfig(flags, env).database, {
    host: 'db',
    port: 3308,
    user: 'seafile',
    password: 'hunter2',
    dbName: 'seafile_db',
  })

  const wrong = refusal(() => readPrimaryConfig(flags, { ...env, SEAFILE_MYSQL_DB_PORT: '33o8' }))
  t.match(wrong.problems, [/SEAFILE_MYSQL_DB_PORT/])
})

t.test('config: flags go before the environment, and that before what lies beside', async t => {
  const { root, flags } = await install(t, PRIMARY + SQLITE)
  const env = { SEAFILE_CENTRAL_CONF_DIR: join(root, 'conf'), SEAFILE_DATA_DIR: join(root, 'elsewhere', 'data') }

  t.match(readPrimaryConfig({}, env), {
    dataDir: join(root, 'elsewhere', 'data'),
    stateDir: join(root, 'elsewhere', 'seaf-backup-state'),
    database: { path: join(root, 'elsewhere', 'data', 'seafile.db') },
  })
  t.match(readPrimaryConfig({ ...flags, data: join(root, 'd'), state: join(root, 's') }, env), {
    dataDir: join(root, 'd'),
    stateDir: join(root, 's'),
  })
})

t.test('config: what is unwise is a warning: others can read it, nothing is encrypted, a key is misspelt', async t => {
  const conf = `[backup]\nbackup_url = ws://10.0.0.2\nsync_token = ${TOKEN}\nlisten_on = x\n[database]\nuser=u\ndb_name=d\n`
  const { flags } = await install(t, conf, 0o644)
  const { warnings } = readPrimaryConfig(flags, {})

  t.equal(warnings.length, 4)
  for (const part of ['listen_on', 'chmod 640', 'not encrypted', 'password']) t.match(warnings.join('\n'), part)
  t.notMatch(warnings.join('\n'), TOKEN)
})

t.test('config: the example has every key and no other, and works once it has a token and a password', async t => {
  const example = await readFile(EXAMPLE, 'utf8')
  const shown = parseKeyFile(example.replace(/^#(?=[a-z_]+ = )/gm, ''))
  t.strictSame(shown.problems, [])
  t.strictSame(shown.keys('backup').toSorted(), [...BACKUP_KEYS].toSorted())

  const filled = example.replace(/^sync_token =$/m, `sync_token = ${TOKEN}`).replace(/^password =$/m, 'password = p')
  const { flags } = await install(t, filled)
  t.strictSame(readPrimaryConfig(flags, {}).warnings, [])
  t.strictSame(readBackupConfig(flags, {}).warnings, [])
})

t.test(
  'config: when dumps are taken and which are kept: defaults, off, and what is no schedule, zone or count',
  async t => {
    const { flags } = await install(t, `${BACKUP}${SQLITE}`)
    const usual = readBackupConfig(flags, {})
    t.strictSame(usual.dumpSchedule, { pattern: '0 * * * *', timeZone: null })
    t.strictSame(usual.keepDumps, { hourly: 48, daily: 14, weekly: 8, monthly: 12, yearly: 2 })

    const off = await install(t, `${BACKUP}dump_schedule = off\nkeep_daily = 0\n${SQLITE}`)
    t.equal(readBackupConfig(off.flags, {}).dumpSchedule, null)
    t.equal(readBackupConfig(off.flags, {}).keepDumps.daily, 0)

    const zoned = await install(t, `${BACKUP}dump_schedule = 30 2,14 * * *\ndump_timezone = Europe/Paris\n${SQLITE}`)
    t.strictSame(readBackupConfig(zoned.flags, {}).dumpSchedule, { pattern: '30 2,14 * * *', timeZone: 'Europe/Paris' })

    const lines = [
      'dump_schedule = hourly',
      'dump_schedule = 0 0 30 2 *',
      'dump_timezone = Mars/Base',
      'keep_daily = -1',
      'keep_hourly = some',
    ]
    for (const line of lines) {
      const wrong = await install(t, `${BACKUP}${line}\n${SQLITE}`)
      t.match(refusal(() => readBackupConfig(wrong.flags, {})).problems, [new RegExp(String(line.split(' ')[0]))], line)
    }
  },
)

t.test('config: the archive of the binlog is on by itself, and a replica is watched where one is named', async t => {
  const usual = readBackupConfig((await install(t, `${BACKUP}${SQLITE}`)).flags, {})
  t.match(usual, { archiveBinlog: true, binlogIntervalMs: 5_000, keepBinlogMs: 14 * 24 * 3_600_000, replica: null })
  const lines =
    'binlog_archive = OFF\nbinlog_archive_interval = 1.5\nkeep_binlog_days = 3\nreplica_url = mysql://w:p%40%3A@[::1]:3307/\n'
  const other = readBackupConfig((await install(t, `${BACKUP}${lines}${SQLITE}`)).flags, {})
  t.match(other, { archiveBinlog: false, binlogIntervalMs: 1_500, keepBinlogMs: 3 * 24 * 3_600_000 })
  t.match(other.replica, { host: '::1', port: 3307, user: 'w', password: 'p@:', shown: 'mysql://w@[::1]:3307/' })
  const wrong = [
    'binlog_archive = always',
    'binlog_archive_interval = 0',
    'keep_binlog_days = 0',
    'replica_url = mysql://w:hunter2@h/db',
    'replica_url = mysql://h:3306/',
    'replica_url = unix://w:hunter2@elsewhere/s',
    'replica_url = postgres://w:hunter2@h/',
  ]
  for (const line of wrong) {
    const { flags } = await install(t, `${BACKUP}${line}\n${SQLITE}`)
    const { problems } = refusal(() => readBackupConfig(flags, {}))
    t.match(problems, [new RegExp(String(line.split(' ')[0]))], line)
    t.notMatch(JSON.stringify(problems), /hunter2/)
  }
  t.equal(readPrimaryConfig((await install(t, `${PRIMARY}${SQLITE}`)).flags, {}).dumpLock, false)
  t.equal(readPrimaryConfig((await install(t, `${PRIMARY}dump_lock = yes\n${SQLITE}`)).flags, {}).dumpLock, true)
})

t.test('config: databases are names, or with SQLite paths that lead nowhere upwards', async t => {
  const { flags } = await install(t, `${PRIMARY}databases = cc_db, hub_db\n${SQLITE}`)
  t.strictSame(readPrimaryConfig(flags, {}).databases, ['cc_db', 'hub_db'])
  for (const name of ['../x.db', '/etc/passwd', '-rf', 'a;b', 'a/../../b']) {
    const wrong = await install(t, `${PRIMARY}databases = ${name}\n${SQLITE}`)
    t.match(refusal(() => readPrimaryConfig(wrong.flags, {})).problems, [/databases/], name)
  }
})
