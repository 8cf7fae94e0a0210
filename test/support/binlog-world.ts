/** A primary whose other tables change between its dumps, and what is archived of that. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { zstdDecompressSync } from 'node:zlib'
import { archiveDir } from '../../src/backup/binlog/archive-layout.js'
import { layArchive, notePosition, positionIn } from './binlog-archive.js'
import { runCommand } from './command.js'
import { dumpToolOf } from './dump-tool.js'
import { startMariadb } from './mariadb.js'
import { Pair } from './pair.js'
import { SEAFILE_DATABASES, SEAFILE_TABLES } from './seafile-statements.js'
import { testDatabase } from './sides.js'
import { tablesOf } from './tables.js'
import type { Test } from 'tap'
import type { ArchiveOptions } from './binlog-archive.js'
import type { Mariadb } from './mariadb.js'
import type { TestDatabase } from './sides.js'

export const stateDir = (pair: Pair) => join(pair.backup.dir, 'seaf-backup-state')

export async function scratch(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sbt-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

/** A primary with Seafile's tables and a binlog, whose dumps say where in it they are. */
export class World implements AsyncDisposable {
  #written = 0

  private constructor(
    readonly theirs: TestDatabase,
    readonly pair: Pair,
    readonly target: Mariadb,
    readonly targetFile: string,
  ) {}

  static async start(t: Test, format: string, backup?: TestDatabase): Promise<World> {
    const logging = ['--log-bin=mysql-bin', '--server-id=1', `--binlog-format=${format}`]
    // not where the backup is: no statement may mean another time there
    const theirs = await testDatabase('mysql', logging, 'Asia/Kolkata')
    await (theirs.server as Mariadb).query(SEAFILE_TABLES)
    const database = { database: theirs.database as never }
    const pair = await Pair.lay({
      primary: database,
      ...(backup && { backup: { database: backup.database as never } }),
    })
    await pair.catalog()
    const dir = await scratch(t)
    await pair.startPrimary(await dumpToolOf(dir, 'exec $REAL "$@" --master-data=2'))
    await pair.startBackup()
    const target = await startMariadb()
    const file = join(dir, 'target.cnf')
    await writeFile(file, `[client]\nuser = ${target.user}\nsocket = "${target.socket}"\n`, { mode: 0o600 })
    return new World(theirs, pair, target, file)
  }

  get server(): Mariadb {
    return this.theirs.server as Mariadb
  }

  /** Some of what users do, in each of the databases. */
  async write(): Promise<void> {
    const n = (this.#written += 1)
    await this.server.query(`
      INSERT INTO ccnet_db.EmailUser (email, passwd, is_staff, is_active, ctime) VALUES ('u${n}@example.com', UUID(), 0, 1, ${n});
      START TRANSACTION;
      INSERT INTO seafile_db.SharedRepo (repo_id, from_email, to_email, permission) VALUES ('r${n}', 'a', 'b', 'rw');
      UPDATE seafile_db.Branch SET name = 'master';
      INSERT INTO seahub_db.django_session VALUES ('s${n}', RAND(), NOW(6));
      COMMIT;
      UPDATE ccnet_db.EmailUser SET is_staff = 1 - is_staff;
      CREATE DATABASE IF NOT EXISTS elsewhere; CREATE TABLE IF NOT EXISTS elsewhere.t (a INT); INSERT INTO elsewhere.t VALUES (${n});
    `)
  }

  /** The dump's id; taken while \`meanwhile\` goes on. */
  async dump(t: Test, meanwhile?: () => Promise<void>): Promise<string> {
    let isDone = false
    const writing = (async () => {
      while (!isDone && meanwhile) await meanwhile()
    })()
    const ran = await runCommand(this.pair, 'dumps', 'now')
    isDone = true
    await writing
    t.equal(ran.code, 0, ran.stderr)
    const id = String((await this.pair.status()).dumps?.newest?.id)
    const sql = zstdDecompressSync(await readFile(join(stateDir(this.pair), 'dumps', id, '0.zst')))
    await notePosition(stateDir(this.pair), id, positionIn(sql.toString('latin1')))
    const second = Math.floor(Date.now() / 1000)
    while (Date.now() < (second + 1) * 1000) await delay(20) // what is defined while it is taken is another matter
    return id
  }

  /** Writes, and waits until its second is over: then nothing else is stamped with it. `at`: when it began. */
  async instant(work: () => Promise<void>): Promise<{ at: number; tables: Record<string, string> }> {
    await work()
    const second = Number((await this.server.query('SELECT UNIX_TIMESTAMP()')).trim())
    while (Date.now() < (second + 1) * 1000) await delay(20)
    return { at: second * 1000, tables: await tablesOf(this.server, SEAFILE_DATABASES, false) }
  }

  /** In place of whatever lies there. */
  async archive(options: ArchiveOptions = {}): Promise<string> {
    if (!options.run) await rm(archiveDir(stateDir(this.pair)), { recursive: true, force: true })
    return layArchive(stateDir(this.pair), this.server, options)
  }

  restore(to: string, ...args: string[]) {
    return runCommand(this.pair, 'restore', '--to', to, '--database', this.targetFile, ...args)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pair[Symbol.asyncDispose]()
    await this.theirs[Symbol.asyncDispose]()
    await this.target[Symbol.asyncDispose]()
  }
}
