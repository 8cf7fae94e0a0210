/**
 * Loaded into a daemon before its own code (`--import`): numbers the steps of the route as they are made, and at the
 * one that TORTURE_AIM names ("3 after rename of an object": its third time) the process kills itself.
 *
 * The product has no failpoints of its own. Here the modules that it calls are
 * wrapped: node:fs, `sync -f`, better-sqlite3, mysql2, ws and HTTP answers. So
 * that a small load reaches every step, the sizes from which objects are
 * handled in bulk are made small as the code is loaded, in memory.
 */

import childProcess from 'node:child_process'
import fs from 'node:fs'
import fsp from 'node:fs/promises'
import http from 'node:http'
import { createRequire, registerHooks, syncBuiltinESMExports } from 'node:module'
import { basename } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { mysqlStep, placeOf, pointOf, sqliteStep } from './route-steps.js'
import type { Phase } from './route-steps.js'

type Call = (this: unknown, ...args: never[]) => unknown
type Wrapped = (self: unknown, args: unknown[], real: (...args: unknown[]) => unknown) => unknown

const SMALLER: Readonly<Record<string, readonly (readonly [RegExp, string])[]>> = {
  '/src/backup/sync/pull.js': [[/const CHECKPOINT_OBJECTS = [\d_]+/, 'const CHECKPOINT_OBJECTS = 24']],
  '/src/shared/store/disk-object-batch.js': [
    [/const FSYNC_OBJECTS_MAX = [\d_]+/, 'const FSYNC_OBJECTS_MAX = 20'],
    [/const BATCH_OBJECTS_MAX = [\d_]+/, 'const BATCH_OBJECTS_MAX = 60'],
  ],
}

const [, nth, aim] = /^(\d+) (.+)$/.exec(process.env['TORTURE_AIM'] ?? '') ?? []
const ofBackup = process.env['TORTURE_SIDE'] === 'backup'
const realWriteSync = fs.writeSync
const places = new Map<number, string>()
let times = 0

const isDue = (phase: Phase, step: string): boolean => pointOf(phase, step) === aim && ++times === Number(nth)

/** The last thing that the process does; synchronous, from whatever thread it is. */
function die(): never {
  realWriteSync(2, `${JSON.stringify({ msg: 'failpoint', point: aim })}\n`)
  process.kill(process.pid, 'SIGKILL')
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}

function reach(phase: Phase, step: string | undefined): void {
  if (step !== undefined && isDue(phase, step)) die()
}

function wrap(owner: object, name: string, wrapped: Wrapped): void {
  const holder = owner as Record<string, Call>
  const real = holder[name] as Call
  const replaced = function (this: unknown, ...args: unknown[]): unknown {
    return wrapped(this, args, (...given) => real.apply(this, given as never[]))
  }
  holder[name] = Object.assign(replaced, real)
}

/** Around a call that is done when it returns, or whose promise resolves. */
function around(owner: object, name: string, stepOf: (self: unknown, args: unknown[]) => string | undefined): void {
  wrap(owner, name, (self, args, real) => {
    const step = stepOf(self, args)
    reach('before', step)
    const result = real(...args)
    if (!(result instanceof Promise)) {
      reach('after', step)
      return result
    }
    return result.then((value: unknown) => {
      reach('after', step)
      return value
    })
  })
}

/** Around a call that says with its last argument that it is done. */
function aroundCallback(owner: object, name: string, stepOf: (self: unknown, args: unknown[]) => string | undefined) {
  wrap(owner, name, (self, args, real) => {
    const step = stepOf(self, args)
    const done = args.at(-1)
    reach('before', step)
    if (step === undefined || typeof done !== 'function') return real(...args)
    return real(...args.slice(0, -1), function (this: unknown, error: unknown, ...rest: unknown[]) {
      if (!error) reach('after', step)
      return (done as Call).apply(this, [error, ...rest] as never[])
    })
  })
}

const onPath = (operation: string, at: number) => (_self: unknown, args: unknown[]) => {
  const place = placeOf(String(args[at]))
  return place && `${operation} of ${place}`
}
const onFd = (operation: string) => (_self: unknown, args: unknown[]) => {
  const place = places.get(Number(args[0]))
  return place && `${operation} of ${place}`
}

function wrapFiles(): void {
  around(fs, 'openSync', onPath('open', 0))
  wrap(fs, 'openSync', (_self, args, real) => {
    const fd = real(...args) as number
    const place = placeOf(String(args[0]))
    if (place) places.set(fd, place)
    else places.delete(fd)
    return fd
  })
  around(fs, 'writeSync', onFd('write'))
  wrap(fs, 'writeSync', (_self, args, real) => {
    const [fd, bytes, from] = args as [number, Uint8Array, number?]
    const place = places.get(fd)
    if (place && isDue('during', `write of ${place}`)) {
      realWriteSync(fd, bytes, from ?? 0, (bytes.byteLength - (from ?? 0)) >> 1)
      die()
    }
    return real(...args)
  })
  wrap(fs, 'closeSync', (_self, args, real) => {
    places.delete(Number(args[0]))
    return real(...args)
  })
  around(fs, 'renameSync', onPath('rename', 1))
  around(fs, 'mkdirSync', onPath('mkdir', 0))
  around(fs, 'rmSync', onPath('removal', 0))
  aroundCallback(fs, 'fsync', onFd('fsync'))
  around(fsp, 'rename', onPath('rename', 1))
  around(fsp, 'mkdir', onPath('mkdir', 0))
  around(fsp, 'rm', onPath('removal', 0))
}

/** `open` of fs/promises gives handles: what they write and sync is what they were opened on. */
async function wrapHandles(): Promise<void> {
  const handles = new WeakMap<object, string>()
  const probe = await fsp.open('/dev/null')
  const ofHandle = (operation: string) => (self: unknown) => {
    const place = handles.get(self as object)
    return place && `${operation} of ${place}`
  }
  const prototype = Object.getPrototypeOf(probe) as object
  around(prototype, 'sync', ofHandle('fsync'))
  around(prototype, 'writeFile', ofHandle('write'))
  await probe.close()
  around(fsp, 'open', onPath('open', 0))
  wrap(fsp, 'open', async (_self, args, real) => {
    const handle = (await real(...args)) as object
    const place = placeOf(String(args[0]))
    if (place) handles.set(handle, place)
    return handle
  })
}

function wrapSync(): void {
  wrap(childProcess, 'spawn', (_self, args, real) => {
    const step = basename(String(args[0])) === 'sync' ? 'sync -f of the filesystem' : undefined
    reach('before', step)
    const child = real(...args) as childProcess.ChildProcess
    if (step) child.on('close', code => code === 0 && reach('after', step))
    return child
  })
}

/** The public method of the state, or the function that opens it, from which a statement comes. */
function stateWriter(): string {
  const { prepareStackTrace, stackTraceLimit } = Error
  Error.stackTraceLimit = 16
  Error.prepareStackTrace = (_error, sites) => sites.map(site => site.getFunctionName())
  const names = new Error().stack as unknown as (string | null)[]
  Error.prepareStackTrace = prepareStackTrace
  Error.stackTraceLimit = stackTraceLimit
  const at = names.findIndex(name => name === 'sqliteTransaction')
  return names.slice(at + 1).find(name => name !== null && name !== '' && !name.includes('#write')) ?? 'unknown'
}

function wrapSqlite(require: NodeJS.Require): void {
  const Database = require('better-sqlite3') as new (file: string) => import('better-sqlite3').Database
  const memory = new Database(':memory:')
  const statement = Object.getPrototypeOf(memory.prepare('SELECT 1')) as object
  memory.close()
  let writing = false
  const ofStatement = (self: unknown) => {
    const { database, source } = self as import('better-sqlite3').Statement
    if (source.startsWith('BEGIN')) writing = source === 'BEGIN IMMEDIATE'
    return sqliteStep(database.name, source, { writer: stateWriter, writing })
  }
  around(statement, 'run', ofStatement)
  around(statement, 'iterate', ofStatement)
  around(Object.getPrototypeOf(memory) as object, 'exec', (self, [sql]) => {
    return sqliteStep((self as import('better-sqlite3').Database).name, String(sql), { writer: stateWriter, writing })
  })
}

function wrapMysql(require: NodeJS.Require): void {
  const { Connection } = require('mysql2') as { Connection: { prototype: object } }
  let owner = Connection.prototype
  while (!Object.hasOwn(owner, 'query')) owner = Object.getPrototypeOf(owner) as object
  aroundCallback(owner, 'query', (_self, [sql]) => {
    return mysqlStep(typeof sql === 'string' ? sql : String((sql as { sql?: unknown }).sql))
  })
}

function wrapLines(require: NodeJS.Require): void {
  around(http.ServerResponse.prototype, 'write', () => (ofBackup ? 'an answer to the command' : 'a chunk of an answer'))
  if (!ofBackup) around((require('ws') as { prototype: object }).prototype, 'send', () => 'an event')
}

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context)
    const found = Object.entries(SMALLER).find(([path]) => url.endsWith(path))
    if (!found || loaded.source === undefined || loaded.source === null) return loaded
    let source = Buffer.from(loaded.source as Uint8Array).toString('utf8')
    for (const [size, small] of found[1]) {
      if (!size.test(source)) throw new Error(`${url} has no ${size.source}`)
      source = source.replace(size, small)
    }
    return { ...loaded, source }
  },
})

/** A daemon starts itself again, as the same process with this flag: before that nothing is worth wrapping. */
const isItself = process.execArgv.some(given => given.startsWith('--max-semi-space-size'))

if (aim !== undefined && isItself) {
  wrapFiles()
  await wrapHandles()
  wrapSync()
  syncBuiltinESMExports()
  if (isMainThread) {
    const require = createRequire(import.meta.url)
    wrapSqlite(require)
    wrapMysql(require)
    wrapLines(require)
  }
}
