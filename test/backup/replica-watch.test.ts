/** MySQL's own replica of the primary: set up as the runbook says, and watched. */

import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { freePorts } from '../../scripts/local/free-ports.js'
import { ReplicaWatch } from '../../src/backup/replica-watch.js'
import { parseReplicaUrl } from '../../src/shared/replica-url.js'
import { silentLog } from '../../src/shared/log.js'
import { mariadbInstalled, startMariadb } from '../support/mariadb.js'
import type { Test } from 'tap'
import type { ReplicaStatus } from '../../src/shared/wire/control-messages.js'
import type { ReplicaAccess } from '../../src/shared/replica-url.js'
import type { Mariadb } from '../support/mariadb.js'

const skip = !mariadbInstalled() && 'mariadbd is not installed'
const PATIENCE_MS = 60_000
const SECRET = 'hunter2-/@:'

async function until<T>(look: () => Promise<T> | T, holds: (value: T) => boolean): Promise<T> {
  const end = Date.now() + PATIENCE_MS
  for (;;) {
    const value = await look()
    if (holds(value)) return value
    if (Date.now() > end) throw new Error(`it stays at ${JSON.stringify(value)}`)
    await delay(20)
  }
}

/** As docs/OPERATIONS.md has it. */
async function replicated(t: Test): Promise<{ primary: Mariadb; replica: Mariadb }> {
  const [port] = await freePorts(1)
  const network = ['--skip-networking=0', '--bind-address=127.0.0.1', `--port=${port}`]
  const primary = await startMariadb({ args: ['--log-bin', '--binlog-format=ROW', '--server-id=1', ...network] })
  t.teardown(() => primary[Symbol.asyncDispose]())
  const filters = ['Branch', 'Repo', 'RepoHead'].map(table => `--replicate-ignore-table=seafile_db.${table}`)
  const replica = await startMariadb({ args: ['--server-id=2', ...filters] })
  t.teardown(() => replica[Symbol.asyncDispose]())
  await primary.query(
    `CREATE USER replica@'127.0.0.1' IDENTIFIED BY 'r'; GRANT REPLICATION SLAVE ON *.* TO replica@'127.0.0.1'`,
  )
  const [file = '', offset = ''] = (await primary.query('SHOW MASTER STATUS')).split('\t')
  await replica.query(`CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = ${port}, MASTER_USER = 'replica',
    MASTER_PASSWORD = 'r', MASTER_LOG_FILE = '${file}', MASTER_LOG_POS = ${offset}; START SLAVE`)
  await replica.query(
    `CREATE USER watcher@localhost IDENTIFIED BY '${SECRET}'; GRANT REPLICA MONITOR ON *.* TO watcher@localhost`,
  )
  return { primary, replica }
}

const accessTo = (server: Mariadb, password = SECRET): ReplicaAccess =>
  parseReplicaUrl(`unix://watcher:${encodeURIComponent(password)}@localhost${server.socket}`) as ReplicaAccess

function watched(t: Test, replica: ReplicaAccess): ReplicaWatch {
  const watch = new ReplicaWatch({
    replica,
    log: silentLog,
    lookMs: 30,
    onDeath: error => t.fail(`the watch died: ${String(error)}`),
  })
  t.teardown(() => watch[Symbol.asyncDispose]())
  return watch
}

const seen = (watch: ReplicaWatch, holds: (status: ReplicaStatus) => boolean) =>
  until(
    () => watch.status(),
    status => status.asked && holds(status),
  )

t.test('replica: it takes the other tables and not the three, and its lag is seen', { skip }, async t => {
  const { primary, replica } = await replicated(t)
  const watch = watched(t, accessTo(replica))
  await primary.query(`CREATE DATABASE seafile_db; CREATE DATABASE ccnet_db; CREATE TABLE seafile_db.Branch (n INT);
    CREATE TABLE seafile_db.RepoOwner (n INT); CREATE TABLE ccnet_db.EmailUser (n INT);
    INSERT INTO seafile_db.Branch VALUES (1); INSERT INTO seafile_db.RepoOwner VALUES (1); INSERT INTO ccnet_db.EmailUser VALUES (7)`)

  await until(
    () => replica.query('SELECT n FROM ccnet_db.EmailUser').catch(String),
    rows => rows.trim() === '7',
  )

  t.equal((await replica.query('SHOW TABLES FROM seafile_db')).trim(), 'RepoOwner')
  t.match(await seen(watch, status => status.problem === null && status.behindSeconds !== null), {
    behindSeconds: 0,
    problemForMs: null,
  })
})

t.test('replica: one that is stopped, fails or is gone is said, with its reason', { skip }, async t => {
  const { primary, replica } = await replicated(t)
  const watch = watched(t, accessTo(replica))
  await seen(watch, ({ problem }) => problem === null)

  await replica.query('STOP SLAVE SQL_THREAD')
  t.match(await seen(watch, ({ problem }) => problem !== null), {
    problem: /it applies nothing \(No\)/,
    behindSeconds: null,
  })
  await replica.query('START SLAVE')
  await seen(watch, ({ problem }) => problem === null)

  await primary.query('CREATE DATABASE x; CREATE TABLE x.t (n INT PRIMARY KEY)')
  await until(
    () => replica.query('INSERT INTO x.t VALUES (1)').catch(String), // not by replication: what the primary does, cannot be done
    said => said === '',
  )
  await primary.query('INSERT INTO x.t VALUES (1)')
  t.match(await seen(watch, ({ problem }) => problem !== null), { problem: /applies nothing .*Duplicate entry/ })

  await replica.kill()
  const gone = await seen(watch, ({ problem }) => /cannot be asked/.test(problem ?? ''))
  t.type(gone.problemForMs, 'number')
})

t.test('replica: a refused account, and a server that is none, are said without the password', { skip }, async t => {
  const { replica, primary } = await replicated(t)
  const refused = await seen(watched(t, accessTo(replica, 'wrong-secret')), ({ problem }) => problem !== null)
  t.match(refused, { problem: /cannot be asked: .*Access denied/ })
  t.notMatch(JSON.stringify(refused), /wrong-secret/)
  await primary.query(
    `CREATE USER watcher@localhost IDENTIFIED BY '${SECRET}'; GRANT REPLICA MONITOR ON *.* TO watcher@localhost`,
  )
  const none = await seen(watched(t, accessTo(primary)), ({ problem }) => problem !== null)
  t.match(none, { problem: /it is no replica/, url: /^unix:\/\/watcher@localhost\// })
  t.notMatch(JSON.stringify(none), /hunter2/)
})
