/**
 * Loaded into a command before its own code (`--import`): numbers the calls by which it changes something, before and
 * after each, and at the one that DIE_AT names the process kills itself. With DIE_AT=0 it lives, and writes what there
 * was into the file DIE_COUNT.
 *
 * A change is a file made, written, renamed, synced or removed, a statement of better-sqlite3 or mysql2 that is no
 * SELECT, a program started, and what is written to it.
 */

import childProcess from 'node:child_process'
import fs from 'node:fs'
import fsp from 'node:fs/promises'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import { basename } from 'node:path'

type Call = (this: unknown, ...args: never[]) => unknown

const dieAt = Number(process.env['DIE_AT'] ?? NaN)
const names: string[] = []

/** The environment for a process that dies at its `n`th point; 0: none, and the points are written to `file`. */
export const dying = (n: number, file = ''): NodeJS.ProcessEnv => ({
  NODE_OPTIONS: `--import=${import.meta.url}`,
  DIE_AT: String(n),
  DIE_COUNT: file,
})

function reach(point: string): void {
  if (names.push(point) !== dieAt) return
  process.kill(process.pid, 'SIGKILL')
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}

/** `nameOf`: undefined for a call that changes nothing. */
function around(owner: object, method: string, nameOf: (args: unknown[], self: unknown) => string | undefined): void {
  const holder = owner as Record<string, Call>
  const real = holder[method] as Call
  const replaced = function (this: unknown, ...args: unknown[]): unknown {
    const name = nameOf(args, this)
    if (name === undefined) return real.apply(this, args as never[])
    reach(`before ${name}`)
    const result = real.apply(this, args as never[])
    if (!(result instanceof Promise)) {
      reach(`after ${name}`)
      return result
    }
    return result.then((value: unknown) => {
      reach(`after ${name}`)
      return value
    })
  }
  holder[method] = Object.assign(replaced, real)
}

const ofPath =
  (operation: string, at = 0) =>
  (args: unknown[]) =>
    `${operation} ${basename(String(args[at]))}`
/** One that is opened to be written. */
const ofOpen = (args: unknown[]) =>
  /[wa+]/.test(typeof args[1] === 'string' ? args[1] : 'r') ? `open ${basename(String(args[0]))}` : undefined
const ofSql = (sql: string) => (/^\s*(SELECT|SHOW|PRAGMA|SET)\b/i.test(sql) ? undefined : sql.trim().slice(0, 40))

async function install(): Promise<void> {
  for (const owner of [fs, fsp] as object[]) {
    const suffix = owner === fs ? 'Sync' : ''
    around(owner, `rename${suffix}`, ofPath('rename', 1))
    around(owner, `rm${suffix}`, ofPath('remove'))
    around(owner, `mkdir${suffix}`, ofPath('mkdir'))
    around(owner, `writeFile${suffix}`, ofPath('write'))
    around(owner, `open${suffix}`, ofOpen)
  }
  const probe = await fsp.open('/dev/null')
  const handles = Object.getPrototypeOf(probe) as object
  for (const method of ['sync', 'writeFile', 'write']) around(handles, method, () => `${method} of a file`)
  await probe.close()
  around(childProcess, 'spawn', ofPath('run'))
  const { spawn } = childProcess
  childProcess.spawn = ((...args: Parameters<typeof spawn>) => {
    const child = spawn(...args)
    if (child.stdin) for (const method of ['write', 'end']) around(child.stdin, method, () => `${method} to a program`)
    return child
  }) as typeof spawn
  syncBuiltinESMExports()
  installDatabases(createRequire(import.meta.url))
}

function installDatabases(require: NodeJS.Require): void {
  const Database = require('better-sqlite3') as new (file: string) => import('better-sqlite3').Database
  const memory = new Database(':memory:')
  const statement = Object.getPrototypeOf(memory.prepare('SELECT 1')) as object
  const database = Object.getPrototypeOf(memory) as object
  memory.close()
  around(statement, 'run', (_args, self) => ofSql((self as import('better-sqlite3').Statement).source))
  around(database, 'exec', ([sql]) => ofSql(String(sql)))
  const { Connection } = require('mysql2') as { Connection: { prototype: object } }
  let owner = Connection.prototype
  while (!Object.hasOwn(owner, 'query')) owner = Object.getPrototypeOf(owner) as object
  around(owner, 'query', ([sql]) => ofSql(typeof sql === 'string' ? sql : String((sql as { sql?: unknown }).sql)))
}

if (Number.isInteger(dieAt)) {
  await install()
  const file = process.env['DIE_COUNT'] ?? ''
  if (file !== '') process.once('exit', () => fs.writeFileSync(file, JSON.stringify(names)))
}
