/**
 * A dump of Seafile's databases, on its way from the agent to the backup: frames (frames.ts) of one answer.
 *
 *   DUMP     JSON DumpHeader, first
 *   PART     JSON DumpPart: what follows belongs to it
 *   DUMPED   the part's next bytes, of one zstd frame
 *   FAILED   JSON RemoteError: there is no dump, for this reason; END follows
 *   END      only now is it whole
 *
 * Nothing that an agent says here becomes a path: parts are numbered where they are kept.
 */

import { BackupError } from '../errors.js'
import { broken, decodeJson, printable } from './frames.js'
import { decodeRemoteError } from './sync-messages.js'

export type DumpEngine = 'mysql' | 'sqlite'

export interface DumpHeader {
  readonly engine: DumpEngine
  /** What the database server says of its version. */
  readonly server: string
  /** What made the dump, with its version. */
  readonly tool: string
  /** MySQL: names; SQLite: paths below Seafile's directory. */
  readonly databases: readonly string[]
  /** Of those that a Seafile server usually has, the ones that are not there. */
  readonly absent: readonly string[]
}

/** With SQLite, Seafile's own database: always the first part, whatever its directory is called on the primary. */
export const SEAFILE_DB = 'seafile-data/seafile.db'

/** `name`: tables.sql, or with SQLite the path of the database below Seafile's directory. */
export interface DumpPart {
  readonly name: string
}

/** In one DUMPED frame. */
export const DUMPED_BYTES_MAX = 1024 * 1024
/** Three databases, or six files; more only by hand. */
export const DUMP_PARTS_MAX = 100
const TEXT_MAX = 500
/** Relative, of plain names: none is `..`, none begins with a dot. */
const PART_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]*(\/[A-Za-z0-9_][A-Za-z0-9._-]*){0,9}$/

export function decodeDumpHeader(payload: Buffer): DumpHeader {
  const json = decodeJson(payload, 'a DUMP frame')
  const { engine } = json
  if (engine !== 'mysql' && engine !== 'sqlite') throw broken('a dump of an unknown kind of database')
  return {
    engine,
    server: text(json['server']),
    tool: text(json['tool']),
    databases: texts(json['databases']),
    absent: texts(json['absent']),
  }
}

export function decodeDumpPart(payload: Buffer): DumpPart {
  const { name } = decodeJson(payload, 'a PART frame')
  if (!isPartName(name)) throw broken('a part of a dump with a name that is none')
  return { name }
}

export const isPartName = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= TEXT_MAX && PART_NAME.test(value)

export const decodeDumpFailure = (payload: Buffer): BackupError => decodeRemoteError(payload)

function text(value: unknown): string {
  if (typeof value !== 'string' || value.length > TEXT_MAX) throw broken('a malformed DUMP frame')
  return printable(value)
}

function texts(value: unknown): string[] {
  if (!Array.isArray(value) || value.length > DUMP_PARTS_MAX) throw broken('a malformed DUMP frame')
  return value.map(text)
}
