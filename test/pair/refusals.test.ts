/** What a person meets when something is wrong: one clear message, no stack trace, and daemons that keep trying what can heal. */

import { execFile, spawnSync } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { DaemonProcess } from '../../scripts/local/daemon-process.js'
import { mariadbInstalled } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { testDatabase } from '../support/sides.js'

const run = promisify(execFile)
const noStack = (text: string) => !/\n\s+at .+:\d+/.test(text) && !text.includes('"stack"')
const OTHER_TOKEN = 'f'.repeat(40)

t.test('refusal: a wrong token is said on both sides, with the key to compare; corrected, all goes on', async t => {
  await using pair = await Pair.lay({ backup: { token: OTHER_TOKEN } })
  await pair.catalog()
  const primary = await pair.startPrimary()
  const backup = await pair.startBackup()

  await pair.until('refused', async () => (await pair.status()).primary.problem?.code === 'TOKEN_MISMATCH')
  const { problem } = (await pair.status()).primary
  t.match(problem?.nextStep, /sync_token/)
  await pair.until('logged', async () => primary.text().includes('request refused'))
  for (const daemon of [primary, backup]) {
    t.ok(daemon.running, 'the daemon keeps trying')
    t.notOk(daemon.text().includes(OTHER_TOKEN), 'the token is never printed')
    t.ok(noStack(daemon.text()), 'no stack trace')
  }

  await backup.stop()
  const conf = join(pair.backup.dir, 'conf', 'seafile.conf')
  const text = await readFile(conf, 'utf8')
  const ours = await readFile(join(pair.primary.dir, 'conf', 'seafile.conf'), 'utf8')
  await writeFile(conf, text.replace(OTHER_TOKEN, /sync_token = (\w+)/.exec(ours)?.[1] ?? ''))
  await pair.startBackup()
  await pair.until('reachable', async () => (await pair.status()).primary.reachable === true)
})

t.test(
  'refusal: a token of 39 characters stops either daemon with exit code 2 and names the key, not the value',
  async t => {
    const short = 'e'.repeat(39)
    await using pair = await Pair.lay({ primary: { token: short }, backup: { token: short } })
    for (const role of ['primary', 'backup'] as const) {
      const daemon = new DaemonProcess(role, ['--conf', join(pair[role].dir, 'conf')])
      t.match(await daemon.exited, { code: 2 })
      t.match(daemon.text(), /sync_token/)
      t.notOk(daemon.text().includes(short))
      t.ok(noStack(daemon.text()))
    }
  },
)

t.test('refusal: a seafile.conf that is not there, or cannot be read, stops the daemon with exit code 2', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'sbp-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  for (const role of ['primary', 'backup'] as const) {
    const daemon = new DaemonProcess(role, ['--conf', dir])
    t.match(await daemon.exited, { code: 2 })
    t.match(daemon.text(), /seafile\.conf/)
    t.ok(noStack(daemon.text()))
  }
  await writeFile(join(dir, 'seafile.conf'), '[backup]\n')
  await chmod(join(dir, 'seafile.conf'), 0o000)
  const daemon = new DaemonProcess('backup', ['--conf', dir])
  t.match(await daemon.exited, { code: 2 })
  t.ok(noStack(daemon.text()))
})

t.test('refusal: an unreachable primary is reported with its address and the daemon keeps trying', async t => {
  await using pair = await Pair.lay()
  const backup = await pair.startBackup()
  await pair.until('unreachable', async () => (await pair.status()).primary.problem?.code === 'PRIMARY_UNREACHABLE')
  const { problem, reachable } = (await pair.status()).primary
  t.equal(reachable, false)
  t.match(problem?.message, /primary_url/)
  t.ok(backup.running)
  const events = await pair.sync(null)
  t.match(events.at(-1), { type: 'error', error: { code: 'PRIMARY_UNREACHABLE' } })
})

t.test('refusal: a URL that is no agent is named as such', async t => {
  await using pair = await Pair.lay()
  await pair.startBackup()
  // the backup's own event port answers HTTP, but is no primary
  pair.primary.relay.target = Number(
    new URL(String((await pair.backup.process?.logged('backup ready'))?.['events'])).port,
  )
  await pair.until('named', async () => /answered 404/.test((await pair.status()).primary.problem?.message ?? ''))
  t.match((await pair.status()).primary.problem?.message, /seaf-backup-primary/)
})

t.test(
  'refusal: a database that is down is waited for',
  { skip: !mariadbInstalled() && 'mariadbd is not installed' },
  async t => {
    await using db = await testDatabase('mysql')
    await using pair = await Pair.start({ ...(db.database && { primary: { database: db.database } }) })
    const writer = await pair.writer()
    await writer.createLibrary({ name: 'Before', owner: 'jo@example.com' })
    await pair.settle()

    await db.server?.stop()
    const events = await pair.sync(null)
    t.match(events.at(-1), { type: 'error' })
    t.ok(pair.primary.process?.running)
    t.ok(noStack(pair.primary.process?.text() ?? ''))
    await db.server?.start()

    await writer.createLibrary({ name: 'After', owner: 'jo@example.com' })
    await pair.until('both', async () => (await pair.heads('backup')).size === 2)
  },
)

t.test('refusal: SIGTERM stops both daemons cleanly, with exit code 0', async t => {
  await using pair = await Pair.start()
  t.match(await pair.backup.process?.stop(), { code: 0 })
  t.match(await pair.primary.process?.stop(), { code: 0 })
})

const noOpenssl = spawnSync('openssl', ['version']).status !== 0 && 'openssl is not installed'

t.test(
  'refusal: over TLS with a private CA the pair works, and a CA that is not trusted is refused',
  { skip: noOpenssl },
  async t => {
    const dir = await mkdtemp(join(tmpdir(), 'sbp-tls-'))
    t.teardown(() => rm(dir, { recursive: true, force: true }))
    const openssl = (...args: string[]) => run('openssl', args, { cwd: dir })
    await openssl(
      ...'req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost'.split(' '),
      ...'-addext subjectAltName=DNS:localhost,IP:127.0.0.1'.split(' '),
    )
    const file = (name: string) => join(dir, name)
    await using pair = await Pair.start({ tls: { cert: file('cert.pem'), key: file('key.pem'), ca: file('cert.pem') } })
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Secure', owner: 'jo@example.com' })
    await pair.until('arrived', async () => (await pair.library(repo))?.state === 'synchronized')
    await pair.until('connected', async () => (await pair.status()).primary.agentsConnected === 1)

    const conf = join(pair.backup.dir, 'conf', 'seafile.conf')
    await pair.backup.process?.stop()
    await writeFile(conf, (await readFile(conf, 'utf8')).replace(/ca_file = .*\n/, ''))
    await pair.startBackup()
    await pair.until('refused', async () => /certificate/.test((await pair.status()).primary.problem?.message ?? ''))
    t.equal((await pair.status()).primary.reachable, false)
  },
)

t.test('refusal: of daemons started on one state directory at the same moment, one runs', async t => {
  await using pair = await Pair.lay()
  await pair.catalog()
  for (const role of ['primary', 'backup'] as const) {
    for (let round = 0; round < 4; round++) {
      const daemons = [1, 2, 3].map(() => new DaemonProcess(role, ['--conf', join(pair[role].dir, 'conf')]))
      const refused = () => daemons.filter(daemon => !daemon.running)
      await pair.until('decided', async () => daemons.every(d => !d.running || / ready"/.test(d.text())))
      const exits = await Promise.all(refused().map(daemon => daemon.exited))
      t.strictSame(
        exits.map(({ code }) => code),
        [2, 2],
        `${role}: the others end`,
      )
      for (const daemon of refused()) t.match(daemon.text(), /another daemon uses it/)
      for (const daemon of daemons) await daemon.kill()
    }
  }
})
