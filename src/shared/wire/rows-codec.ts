/** Library rows that came from the other side or from our own state: checked field by field, once. Throws TypeError naming the field, or what an id is not. */

import { parseCommitId, parseRepoId } from '../ids.js'
import type { LibraryRows } from '../catalog/catalog.js'

/** MySQL's TEXT: the longest string that any of these columns takes. */
const TEXT_MAX = 65_535

export function parseLibraryRows(value: unknown): LibraryRows {
  const rows = object(value, 'rows')
  return {
    repo: parseRepoId(rows['repo']),
    head: orNull(rows['head'], parseCommitId),
    branchName: orNull(rows['branchName'], v => text(v, 'branchName')),
    virtual: orNull(rows['virtual'], v => {
      const virtual = object(v, 'virtual')
      return {
        originRepo: parseRepoId(virtual['originRepo']),
        path: text(virtual['path'], 'path'),
        baseCommit: orNull(virtual['baseCommit'], parseCommitId),
      }
    }),
    owner: orNull(rows['owner'], v => text(v, 'owner')),
    info: orNull(rows['info'], parseInfo),
    size: orNull(rows['size'], v => {
      const size = object(v, 'size')
      return { bytes: integer(size['bytes'], 'bytes'), head: orNull(size['head'], h => text(h, 'size.head')) }
    }),
    fileCount: orNull(rows['fileCount'], v => integer(v, 'fileCount')),
    historyLimitDays: orNull(rows['historyLimitDays'], v => integer(v, 'historyLimitDays')),
    validSince: orNull(rows['validSince'], v => integer(v, 'validSince')),
  }
}

function parseInfo(value: unknown): NonNullable<LibraryRows['info']> {
  const info = object(value, 'info')
  const number = (name: string) => orNull(info[name], v => integer(v, name))
  const string = (name: string) => orNull(info[name], v => text(v, name))
  return {
    name: text(info['name'], 'name'),
    updateTime: number('updateTime'),
    version: number('version'),
    isEncrypted: number('isEncrypted'),
    lastModifier: string('lastModifier'),
    status: number('status'),
    type: string('type'),
  }
}

function object(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError(name)
  return value as Record<string, unknown>
}

function orNull<T>(value: unknown, parse: (value: unknown) => T): T | null {
  return value === null || value === undefined ? null : parse(value)
}

function text(value: unknown, name: string): string {
  if (typeof value !== 'string' || value.length > TEXT_MAX) throw new TypeError(name)
  return value
}

function integer(value: unknown, name: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw new TypeError(name)
  return value
}
