/**
 * Time zones that logged statements were written in, on the server that replays them: those that people named, and the
 * one of the primary's server, which logs it as SYSTEM whatever it is.
 */

import { BackupError } from '../../shared/errors.js'
import { SYSTEM, isSameZone, zoneOf, zoneSql } from '../../shared/system-zone.js'
import { hoursEast, zonesLike } from './zone-names.js'
import type { SystemZone } from '../../shared/system-zone.js'
import type { MysqlClient } from '../restore/mysql-client.js'
import type { ReplayedPart } from './replay-plan.js'

/** Others are names of the same, mostly. */
const LIKE_MAX = 3
const SHOWN_MAX = 4
const LOAD_THEM =
  'load the time zones into that server (mariadb-tzinfo-to-sql /usr/share/zoneinfo | mariadb mysql; MySQL: mysql_tzinfo_to_sql)'
const OTHERWISE = 'or restore --without-binlog'

/**
 * What stands for SYSTEM there, for each of the parts.
 * @throws BackupError RESTORE_FAILED: a zone is not known there, with what helps
 */
export async function zonesOnTarget(
  client: MysqlClient,
  parts: readonly ReplayedPart[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const named = new Set(parts.flatMap(({ zones }) => zones).filter(zone => zone !== SYSTEM))
  const lacking = await unknown(client, [...named], signal)
  if (lacking.length > 0) {
    const message = `replay the archived binlog: statements in it have times of ${lacking.join(', ')}, which the server does not know`
    throw new BackupError('RESTORE_FAILED', message, { nextStep: `${LOAD_THEM}, ${OTHERWISE}` })
  }
  const found = new Map<string, string>()
  const names: string[] = []
  for (const { zone, zones } of parts) {
    const key = zone && zones.includes(SYSTEM) ? JSON.stringify(zone) : ''
    if (zone && key !== '' && !found.has(key)) found.set(key, await nameThere(client, zone, signal))
    names.push(found.get(key) ?? SYSTEM)
  }
  return names
}

async function unknown(client: MysqlClient, names: readonly string[], signal: AbortSignal): Promise<string[]> {
  if (names.length === 0) return []
  const each = names.map(name => `CONVERT_TZ('2020-01-01', '+00:00', '${name}') IS NULL`)
  const answer = (await client.ask(`SELECT ${each.join(', ')};`, signal)).trim().split('\t')
  return names.filter((_, i) => answer[i] !== '0')
}

/** A zone of that server in which it is as late as on the primary, always. */
async function nameThere(client: MysqlClient, zone: SystemZone, signal: AbortSignal): Promise<string> {
  const own = await zoneThere(client, zone, SYSTEM, signal)
  if (own && isSameZone(own, zone)) return SYSTEM
  const fixed = zone.offsets.length === 1 ? hoursEast(zone) : []
  const like = zonesLike(zone)
  const lacking = await unknown(client, like, signal)
  const known = like.filter(name => !lacking.includes(name))
  for (const name of [...fixed, ...known.slice(0, LIKE_MAX)]) {
    const there = await zoneThere(client, zone, name, signal)
    if (there && isSameZone(there, zone)) return name
  }
  const shown = ({ name, offsets }: SystemZone): string =>
    `${name}, ${[...new Set(offsets.map(([, east]) => east / 3600))].slice(0, SHOWN_MAX).join(' or ')} hours east of UTC`
  const message = `replay the archived binlog: statements in it have times of the primary's time zone (${shown(zone)}), and that of the server is another (${own ? shown(own) : 'it does not say which'})`
  const start = `start it in ${like[0] === undefined ? 'that zone' : `a zone such as ${like[0]} (TZ, or that of its host)`}`
  throw new BackupError('RESTORE_FAILED', message, { nextStep: `${LOAD_THEM}, or ${start}, ${OTHERWISE}` })
}

async function zoneThere(
  client: MysqlClient,
  { from, days }: SystemZone,
  name: string,
  signal: AbortSignal,
): Promise<SystemZone | undefined> {
  const [called, offsets] = (await client.ask(`${zoneSql({ from, days }, name)};`, signal)).trimEnd().split('\t')
  return zoneOf({ from, days }, called, offsets)
}
