/**
 * Reading a dump from the disk as a restore would: each part's bytes against their checksum, unpacked, to the end.
 */

import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, rmSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createZstdDecompress } from 'node:zlib'
import { BackupError, isAbort, reason, systemCode } from '../../shared/errors.js'
import { storeError } from '../../shared/store/durable-file.js'
import { SqlRows } from './sql-rows.js'
import { sqliteRows } from './sqlite-rows.js'
import type { DumpEngine } from '../../shared/wire/dump-messages.js'
import type { DumpContents, DumpPosition, KeptPart, TableCount } from './dump-manifest.js'

/** What zstd may ask for in memory: 8 MiB is the most that the agent's level uses. */
const UNPACKING = { params: { [constants.ZSTD_d_windowLogMax]: 23 } }
const READ_BYTES = 256 * 1024

/** What is to be read of a dump, wherever it lies. */
export interface DumpOnDisk {
  readonly id: string
  readonly engine: DumpEngine
  readonly parts: readonly KeptPart[]
  /** Holds `<index>.zst`. */
  readonly dir: string
}

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
  const part = dump.parts[index]
  if (!part) throw new Error(`assertion failed: no part ${index}`)
  const hash = createHash('sha256')
  let bytes = 0
  const packed = createReadStream(join(dump.dir, `${index}.zst`), { highWaterMark: READ_BYTES })
  const hashed = new PassThrough({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.byteLength
      hash.update(chunk)
      done(null, chunk)
    },
  })
  const unpacking = createZstdDecompress(UNPACKING)
  let first: unknown // an error of one stream ends the others with it
  for (const stream of [packed, unpacking, target]) stream.once('error', () => (first ??= stream))
  try {
    await pipeline(packed, hashed, unpacking, target, { signal })
  } catch (error) {
    if (isAbort(error) || systemCode(error) === 'EPIPE') throw error
    if (first === target) throw storeError(`unpack ${part.name} of dump ${dump.id}`, error)
    throw damaged(dump, part, reason(error), error)
  }
  if (bytes !== part.bytes) throw damaged(dump, part, `it has ${bytes} bytes, and ${part.bytes} were written`)
  if (hash.digest('hex') !== part.sha256) throw damaged(dump, part, 'its checksum is not that of what was written')
}

/** Reads all of it. `scratch`: a directory for databases that are unpacked to be looked at. @throws BackupError DUMP_DAMAGED */
export async function readDump(dump: DumpOnDisk, scratch: string, signal: AbortSignal): Promise<DumpContents> {
  const tables: TableCount[] = []
  let position: DumpPosition | null = null
  for (const index of dump.parts.keys()) {
    const read = dump.engine === 'mysql' ? readSql : readSqlite
    const found = await read(dump, index, scratch, signal)
    tables.push(...found.tables)
    position ??= found.position
  }
  return { tables, position }
}

async function readSql(dump: DumpOnDisk, index: number, _scratch: string, signal: AbortSignal): Promise<DumpContents> {
  const rows = new SqlRows()
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      rows.push(chunk)
      done()
    },
  })
  await unpackPart(dump, index, sink, signal)
  if (!rows.completed) throw damaged(dump, dump.parts[index], 'it does not end as the dump tool ends one')
  return { tables: rows.tables(), position: rows.position() }
}

async function readSqlite(
  dump: DumpOnDisk,
  index: number,
  scratch: string,
  signal: AbortSignal,
): Promise<DumpContents> {
  const path = join(scratch, `${index}.db`)
  const part = dump.parts[index]
  try {
    await unpackPart(dump, index, createWriteStream(path, { mode: 0o600 }), signal)
    try {
      return { tables: sqliteRows(path, part?.name ?? ''), position: null }
    } catch (error) {
      // a disk that fails says nothing of the dump
      if (isOfDisk(error)) throw storeError(`look into ${part?.name ?? 'a part'} of dump ${dump.id}`, error)
      throw damaged(dump, part, reason(error), error)
    }
  } finally {
    rmSync(path, { force: true })
  }
}

function isOfDisk(error: unknown): boolean {
  const code = systemCode(error) ?? ''
  return code.startsWith('SQLITE_') && !/^SQLITE_(CORRUPT|NOTADB|ERROR)/.test(code)
}

function damaged(dump: DumpOnDisk, part: KeptPart | undefined, why: string, cause?: unknown): BackupError {
  return new BackupError('DUMP_DAMAGED', `read ${part?.name ?? 'a part'} of dump ${dump.id}: ${why}`, {}, { cause })
}
