/** What the server calls SYSTEM, for those who replay its statements elsewhere. */

import { daysAround, zoneOf, zoneSql } from '../../shared/system-zone.js'
import type { SystemZone } from '../../shared/system-zone.js'
import type { BinlogControl } from '../changes/binlog-access.js'

/** `serverTime`: Unix ms. Null: the server does not say. It is another one after a start alone, which begins a file. */
export async function askZone(control: BinlogControl, serverTime: number): Promise<SystemZone | null> {
  const days = daysAround(serverTime)
  const [name, offsets] = await control.row(zoneSql(days))
  return zoneOf(days, name, offsets) ?? null
}
