/**
 * The pages of docs/RESTORE.md, followed as they are written: each command is taken from the page and run by a shell, with
 * nothing put in but what a person would (ids, times, the directory to restore to).
 */

import { execFile } from 'node:child_process'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import Database from 'better-sqlite3'
import t from 'tap'
import { mariadbInstalled, startMariadb } from '../support/mariadb.js'
import { Pair, never } from '../support/pair.js'
import { testDatabase } from '../support/sides.js'
import type { Test } from 'tap'
import type { Mariadb } from '../support/mariadb.js'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const COMMAND = fileURLToPath(new URL('../../scripts/seaf-backup-cmd.js', import.meta.url))
const IN_TEXT = /`((?:seaf-backup-cmd|systemctl) [^`]+)`/g

/** Of each page its commands, in the page's order: those in blocks, and those within sentences. */
async function pagesOf(file: string): Promise<ReadonlyMap<string, readonly string[]>> {
  const [, ...pages] = (await readFile(file, 'utf8')).split(/^## /m)
  return new Map(
    pages.map(page => {
      const [title = '', ...lines] = page.split('\n')
      const text = lines.join('\n').replace(/`[^`]*`/g, code => code.replace(/\s+/g, ' ')) // a command may go on in the next line
      const commands = text.split('\n').flatMap(line => {
        if (line.startsWith('    ')) return [line.trim()]
        return [...line.matchAll(IN_TEXT)].map(([, command = '']) => command)
      })
      return [title, commands]
    }),
  )
}

const pages = await pagesOf(join(ROOT, 'docs', 'RESTORE.md'))
const followed = new Set<string>()

function page(title: string): readonly string[] {
  followed.add(title)
  const commands = pages.get(title)
  if (!commands || commands.length === 0) throw new Error(`docs/RESTORE.md has no page "${title}" with commands`)
  return commands
}

interface Given {
  readonly id?: string
  /** Unix ms, for every `--at` and `--from`. */
  readonly at?: number
  /** An option file, for FILE; without one `--database FILE` is left out, as the pages say of SQLite. */
  readonly file?: string
}

interface Said {
  readonly code: number
  readonly stdout: string
  readonly all: string
}

/** A person at the backup host: a shell with our command in its PATH, and a directory in place of /srv. */
class Follower {
  private constructor(
    private readonly pair: Pair,
    readonly srv: string,
    private readonly env: NodeJS.ProcessEnv,
  ) {}

  static async at(pair: Pair): Promise<Follower> {
    const srv = join(pair.dir, 'srv')
    await mkdir(join(srv, 'bin'), { recursive: true })
    const shim = join(srv, 'bin', 'seaf-backup-cmd')
    await writeFile(shim, `#!/bin/sh\nexec "${process.execPath}" "${COMMAND}" "$@"\n`)
    await chmod(shim, 0o755)
    const PATH = `${join(srv, 'bin')}:${process.env['PATH'] ?? ''}`
    return new Follower(pair, srv, { ...process.env, PATH, SEAFILE_CENTRAL_CONF_DIR: join(pair.backup.dir, 'conf') })
  }

  async run(line: string, { id = '', at = 0, file }: Given = {}): Promise<Said> {
    if (line === 'systemctl stop seaf-backup-server') {
      await this.pair.backup.process?.stop()
      return { code: 0, stdout: '', all: '' }
    }
    const command = line
      .replaceAll('/srv', this.srv)
      .replace(/\bID\b/g, id)
      .replace(/"\d{4}-[^"]* Europe\/Paris"/g, `"${inParis(at)}"`)
      .replace(/ --database FILE/, file === undefined ? '' : ` --database ${file}`)
      .replace(/^(seaf-backup-cmd promote --accept-loss .*)$/, '$1 --confirm PROMOTE') // the word that it asks for
    return new Promise(resolve => {
      execFile('bash', ['-c', command], { cwd: this.srv, env: this.env, maxBuffer: 1e8 }, (error, stdout, stderr) => {
        const code = error ? (typeof error.code === 'number' ? error.code : -1) : 0
        resolve({ code, stdout, all: `${command}\n${stdout}${stderr}` })
      })
    })
  }
}

const inParis = (at: number): string =>
  `${new Intl.DateTimeFormat('sv-SE', { timeZone: 'Europe/Paris', dateStyle: 'short', timeStyle: 'medium' }).format(at)} Europe/Paris`

/** A whole second between what was and what will be. */
async function instant(): Promise<number> {
  const at = Math.ceil(Date.now() / 1000) * 1000
  await delay(at - Date.now() + 1100)
  return at
}

function give(path: string, ...repos: readonly string[]): void {
  const db = new Database(path)
  db.exec('CREATE TABLE RepoUserToken (repo_id, email, token); CREATE TABLE RepoTokenPeerInfo (token, peer_id)')
  for (const repo of repos) {
    db.prepare("INSERT INTO RepoUserToken VALUES (?, 'jo@example.com', ?)").run(repo, repo)
    db.prepare("INSERT INTO RepoTokenPeerInfo VALUES (?, 'peer')").run(repo)
  }
  db.close()
}

const sqliteIn = ({ primary }: Pair): string => (primary.database.type === 'sqlite' ? primary.database.path : '')

/** Libraries whose clients go on as before. */
function tokensIn(dir: string): unknown[] {
  const db = new Database(join(dir, 'seafile-data', 'seafile.db'), { readonly: true })
  try {
    const tokens = db.prepare('SELECT repo_id FROM RepoUserToken ORDER BY 1').pluck().all()
    const peers = db.prepare('SELECT token FROM RepoTokenPeerInfo ORDER BY 1').pluck().all()
    if (String(tokens) !== String(peers)) throw new Error(`tokens of ${String(tokens)}, peers of ${String(peers)}`)
    return tokens
  } finally {
    db.close()
  }
}

const headsIn = (dir: string): Record<string, string> => {
  const db = new Database(join(dir, 'seafile-data', 'seafile.db'), { readonly: true })
  try {
    const rows = db.prepare('SELECT repo_id AS repo, commit_id AS head FROM Branch').all() as Record<string, string>[]
    return Object.fromEntries(rows.map(({ repo = '', head = '' }) => [repo, head]))
  } finally {
    db.close()
  }
}

/** All of a page's commands; each must end as it should. */
async function follow(t: Test, who: Follower, commands: readonly string[], given: Given = {}, codes = [0]) {
  const said: Said[] = []
  for (const command of commands) {
    const one = await who.run(command, given)
    t.ok(codes.includes(one.code), `${command} ended with ${one.code}: ${one.all}`)
    said.push(one)
  }
  return said
}

t.test('restore pages: on SQLite, from a first look to the day that the primary is gone', async t => {
  await using pair = await Pair.start()
  const who = await Follower.at(pair)
  const writer = await pair.writer()
  const letters = await writer.createLibrary({ name: 'Letters', owner: 'jo@example.com' })
  const gone = await writer.createLibrary({ name: 'Gone', owner: 'jo@example.com' })
  const first = await writer.commit(letters, [{ op: 'put', path: '/Letters/ann.odt', content: Buffer.from('first') }])
  await writer.commit(gone, [{ op: 'put', path: '/a', content: Buffer.from('a') }])
  await pair.settle()
  await pair.until('all here', async () => (await pair.status()).counts.synchronized === 2)
  give(sqliteIn(pair), letters, gone)
  t.equal((await who.run('seaf-backup-cmd dumps now')).code, 0)
  const at = await instant()
  const second = await writer.commit(letters, [{ op: 'put', path: '/Letters/ann.odt', content: Buffer.from('second') }])
  await pair.until('the second', async () => (await pair.library(letters))?.head === second)
  const given = { id: letters, at }

  const [status] = await follow(t, who, page('Look first'))
  t.match(status?.stdout, 'Number of synchronized libraries: 2')

  await follow(t, who, page('One file of last Tuesday'), given)
  t.equal(await readFile(join(who.srv, 'ann.odt'), 'utf8'), 'first')

  await follow(t, who, page('An older state'), given, [0, 1])
  t.equal(headsIn(join(who.srv, 'then'))[letters], first)
  t.strictSame(tokensIn(join(who.srv, 'then')), [gone], 'what goes back there is not taken for deleted')

  await follow(t, who, page('Onto another host'))
  t.equal(headsIn(join(who.srv, 'seafile-restored'))[letters], second)
  t.strictSame(tokensIn(join(who.srv, 'seafile-restored')), [letters, gone].sort())

  await follow(
    t,
    who,
    page('Is it going to work?').filter(command => !command.includes('status')),
  )

  const existed = await instant()
  const catalog = await pair.catalog()
  await catalog.removeRows(gone, true, never)
  await pair.until('deleted', async () => {
    await pair.sync(null)
    return (await pair.library(gone))?.deletedOnPrimary === true
  })
  const deleted = page('One library was deleted').map(command => command.replace('/srv/then', '/srv/before'))
  const [listed] = await follow(t, who, deleted, { id: gone, at: existed })
  t.match(listed?.stdout, gone)
  t.same(Object.keys(headsIn(join(who.srv, 'before'))), [gone])
  t.same(Object.keys(headsIn(join(who.srv, 'one'))), [gone])
  t.equal(await readFile(join(who.srv, 'files', 'a'), 'utf8'), 'a')

  const corrupt = page('The database is corrupt, the files are fine')
  await follow(t, who, corrupt)
  t.equal(headsIn(join(who.srv, 'rows'))[letters], second)

  const before = await instant()
  const db = new Database(sqliteIn(pair))
  db.prepare('UPDATE Branch SET commit_id = ? WHERE repo_id = ?').run(first, letters)
  db.close()
  await pair.until('it is refused', async () => (await pair.library(letters))?.failure?.code === 'HEAD_REWOUND')
  const mistake = page('We restored an old dump by mistake').filter(command => command.includes(' restore '))
  await follow(
    t,
    who,
    mistake.map(command => command.replace('/srv/rows', '/srv/rows-before')),
    { at: before },
  )
  t.equal(headsIn(join(who.srv, 'rows-before'))[letters], second)
  t.ok(tokensIn(join(who.srv, 'rows-before')).includes(letters), 'nobody can have more than what was there last')

  await pair.primary.process?.kill()
  const [stop = '', check = '', lastDump = '', promote = ''] = page('The primary is gone')
  t.match(
    [stop, check, lastDump, promote],
    [/^systemctl stop/, /promote --check/, /dumps now/, /promote --accept-loss/],
  )
  await follow(t, who, [stop])
  const found = await who.run(check)
  t.equal(found.code, 1)
  t.match(found.stdout, /^LOSS \(primary\)/m)
  const asked = await who.run(promote)
  t.match(asked.all, /--accept-loss libraries/, 'the rewound library is a loss of its own, and must be named')
  const promoted = await who.run(promote.replace('primary,tables', 'libraries,primary,tables'))
  t.equal(promoted.code, 0, promoted.all)
  t.match(promoted.stdout, /What remains to be done by hand \(docs\/RESTORE.md, "The primary is gone"\)/)
})

t.test(
  'restore pages: the database is corrupt, on MariaDB, into a server that a file names; and again after an interrupt',
  { skip: !mariadbInstalled() && 'mariadbd is not installed' },
  async t => {
    await using theirs = await testDatabase('mysql')
    await (theirs.server as Mariadb).query(`CREATE DATABASE ccnet_db; CREATE DATABASE seahub_db;
      CREATE TABLE ccnet_db.EmailUser (email VARCHAR(255)); INSERT INTO ccnet_db.EmailUser VALUES ('jo@example.com')`)
    await using pair = await Pair.start({ primary: { database: theirs.database as never } })
    await using fresh = await startMariadb()
    const who = await Follower.at(pair)
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Papers', owner: 'jo@example.com' })
    await pair.settle()
    await pair.until('arrived', async () => (await pair.library(repo))?.state === 'synchronized')
    const file = join(who.srv, 'client.cnf')
    await writeFile(file, `[client]\nuser = ${fresh.user}\npassword =\nsocket = ${fresh.socket}\n`, { mode: 0o600 })

    await follow(t, who, page('The database is corrupt, the files are fine'), { file })

    t.equal(await fresh.query('SELECT email FROM ccnet_db.EmailUser'), 'jo@example.com\n')
    t.equal(await fresh.query('SELECT owner_id FROM RepoOwner', 'seafile_db'), 'jo@example.com\n')
  },
)

t.test('restore pages: there is none that nobody has followed', async t => {
  const withCommands = [...pages].filter(([, commands]) => commands.length > 0).map(([title]) => title)
  t.strictSame([...followed].sort(), withCommands.sort())
})
