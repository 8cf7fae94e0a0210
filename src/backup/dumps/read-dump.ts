/**
 * Reading a dump as a restore would: each part unpacked to its end, its bytes hashed, its rows counted; from the disk,
 * or as it comes from the primary.
 */

import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createZstdDecompress } from 'node:zlib'
import { BackupError, isAbort, reason, systemCode } from '../../shared/errors.js'
import { giveBack } from '../../shared/give-back.js'
import { storeError } from '../../shared/store/durable-file.js'
import { SqlRows } from './sql-rows.js'
import { sqliteRows } from './sqlite-rows.js'
import type { DumpEngine } from '../../shared/wire/dump-messages.js'
import type { BinlogPosition } from '../../shared/binlog-events.js'
import type { DumpContents, KeptPart, TableCount } from './dump-manifest.js'

/** What zstd may ask for in memory: 8 MiB is the most that the agent's level uses. Each output costs a turn of a pool thread. */
const UNPACKING = { chunkSize: 128 * 1024, params: { [constants.ZSTD_d_windowLogMax]: 23 } }
const READ_BYTES = 256 * 1024

/** What is to be read of a dump, wherever it lies. */
export interface DumpOnDisk {
  readonly id: string
  readonly engine: DumpEngine
  readonly parts: readonly KeptPart[]
  /** Holds `<index>.zst`. */
  readonly dir: string
}

/** A part that is read, compressed. `bytes` gives them in order; what it gives is used until it is asked for more. */
export interface PackedPart {
  readonly dump: string
  readonly name: string
  readonly bytes: AsyncIterable<Buffer>
}

/** Of a part's file, compressed. */
export type PartSum = Pick<KeptPart, 'bytes' | 'sha256'>

/**
 * Unpacks one part into `target`. Its checksum is known only at the end: until this has resolved, nothing that was
 * written may be used. @throws BackupError DUMP_DAMAGED
 */
export async function unpackPart(
  dump: DumpOnDisk,
  index: number,
  target: Writable,
  signal: AbortSignal,
): Promise<void> {
  const part = partOf(dump, index)
  const sum = await unpack(packedPart(dump, index), target, signal)
  expectSame(dump, part, sum)
}

/** Reads all of it. `scratch`: a directory for databases that are unpacked to be looked at. @throws BackupError DUMP_DAMAGED */
export async function readDump(dump: DumpOnDisk, scratch: string, signal: AbortSignal): Promise<DumpContents> {
  const tables: TableCount[] = []
  let position: BinlogPosition | null = null
  for (const index of dump.parts.keys()) {
    const expected = (sum: PartSum) => expectSame(dump, partOf(dump, index), sum)
    const found = await readPart(packedPart(dump, index), { engine: dump.engine, scratch, expected }, signal)
    tables.push(...found.tables)
    position ??= found.position
  }
  return { tables, position }
}

export interface PartReading {
  readonly engine: DumpEngine
  /** A directory. */
  readonly scratch: string
  /** Is told what the part's bytes were before anything is made of its content; may throw. */
  readonly expected: (sum: PartSum) => void
}

/** What is in a part that is whole. @throws BackupError DUMP_DAMAGED */
export function readPart(part: PackedPart, how: PartReading, signal: AbortSignal): Promise<DumpContents> {
  return how.engine === 'mysql' ? readSql(part, how, signal) : readSqlite(part, how, signal)
}

async function readSql(part: PackedPart, { expected }: PartReading, signal: AbortSignal): Promise<DumpContents> {
  const rows = new SqlRows()
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      rows.push(chunk)
      giveBack(chunk)
      done()
    },
  })
  expected(await unpack(part, sink, signal))
  if (!rows.completed) throw damaged(part, 'it does not end as the dump tool ends one')
  return { tables: rows.tables(), position: rows.position() }
}

async function readSqlite(
  part: PackedPart,
  { scratch, expected }: PartReading,
  signal: AbortSignal,
): Promise<DumpContents> {
  const path = join(scratch, 'part.db')
  try {
    expected(await unpack(part, createWriteStream(path, { mode: 0o600 }), signal))
    try {
      return { tables: sqliteRows(path, part.name), position: null }
    } catch (error) {
      // a disk that fails says nothing of the dump
      if (isOfDisk(error)) throw storeError(`look into ${part.name} of dump ${part.dump}`, error)
      throw damaged(part, reason(error), error)
    }
  } finally {
    rmSync(path, { force: true })
  }
}

/** The other end of a pipe: why it went is what counts, and whoever started it knows. */
const WHO_READS_IS_GONE: ReadonlySet<string> = new Set(['EPIPE', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED'])

async function unpack(part: PackedPart, target: Writable, signal: AbortSignal): Promise<PartSum> {
  const hash = createHash('sha256')
  let bytes = 0
  const zstd = createZstdDecompress(UNPACKING)
  let first: unknown // an error of one stream ends the others with it
  for (const stream of [zstd, target]) stream.once('error', () => (first ??= stream))
  const emptied = pipeline(zstd, target, { signal })
  emptied.catch(() => {}) // it is awaited below, or `written` rejects with it
  try {
    for await (const chunk of part.bytes) {
      bytes += chunk.byteLength
      hash.update(chunk)
      await written(zstd, chunk, emptied)
    }
    zstd.end()
    await emptied
  } catch (error) {
    const ofTarget = first === target
    zstd.destroy()
    await emptied.catch(() => {})
    if (isAbort(error) || WHO_READS_IS_GONE.has(systemCode(error) ?? '')) throw error
    if (ofTarget) throw storeError(`unpack ${part.name} of dump ${part.dump}`, error)
    throw error instanceof BackupError ? error : damaged(part, reason(error), error)
  }
  return { bytes, sha256: hash.digest('hex') }
}

/** Resolves when all of `chunk` was unpacked: only then may it be used again. Rejects with what ended `emptied`. */
function written(zstd: Writable, chunk: Buffer, emptied: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => void emptied.then(() => reject(new Error('it goes on after its end')), reject)
    zstd.once('close', stop)
    zstd.write(chunk, error => {
      zstd.off('close', stop)
      if (error) stop()
      else resolve()
    })
  })
}

const packedPart = (dump: DumpOnDisk, index: number): PackedPart => ({
  dump: dump.id,
  name: partOf(dump, index).name,
  bytes: createReadStream(join(dump.dir, `${index}.zst`), { highWaterMark: READ_BYTES }),
})

function partOf({ parts }: DumpOnDisk, index: number): KeptPart {
  const part = parts[index]
  if (!part) throw new Error(`assertion failed: no part ${index}`)
  return part
}

function expectSame({ id }: DumpOnDisk, { name, bytes, sha256 }: KeptPart, sum: PartSum): void {
  const part = { dump: id, name }
  if (sum.bytes !== bytes) throw damaged(part, `it has ${sum.bytes} bytes, and ${bytes} were written`)
  if (sum.sha256 !== sha256) throw damaged(part, 'its checksum is not that of what was written')
}

function isOfDisk(error: unknown): boolean {
  const code = systemCode(error) ?? ''
  return code.startsWith('SQLITE_') && !/^SQLITE_(CORRUPT|NOTADB|ERROR)/.test(code)
}

function damaged({ dump, name }: Omit<PackedPart, 'bytes'>, why: string, cause?: unknown): BackupError {
  return new BackupError('DUMP_DAMAGED', `read ${name} of dump ${dump}: ${why}`, {}, { cause })
}
