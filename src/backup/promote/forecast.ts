/**
 * What `promote --check` would say, as far as the daemon knows: for `status`, which may be asked each second and must not
 * wait. The primary is not asked anew, and the rows here are taken to be as they were recorded.
 */

import { checkDatabase } from './checklist.js'
import type { DatabaseConfig } from '../../shared/catalog/database-config.js'
import type { BinlogStatus, PromotionStatus } from '../../shared/wire/control-messages.js'
import type { Dump } from '../dumps/dump-manifest.js'
import type { Library } from '../state/library-state.js'

export interface ForecastInput {
  readonly libraries: readonly Library[]
  /** The newest that is whole. */
  readonly dump: Dump | null
  readonly binlog: BinlogStatus | null
  readonly database: DatabaseConfig
  /** Unix ms: until when all that the primary had was heard of; null: never. */
  readonly heardUntil: number | null
  readonly rpoMs: number
}

export function promotionForecast(input: ForecastInput): PromotionStatus {
  const { libraries, dump, binlog, database, heardUntil, rpoMs } = input
  const isSilent = heardUntil === null || Date.now() - heardUntil > rpoMs
  const stops = dump ? checkDatabase({ database }, dump).filter(({ verdict }) => verdict === 'stop') : []
  return {
    stops: stops.map(({ message }) => message),
    librariesLacking: libraries.filter(isSilent ? isLive : isLacking).length,
    librariesDeleted: libraries.filter(({ deleted }) => deleted).length,
    tablesAt: dump && Math.max(dump.askedAt, replayedUntil(dump, binlog)),
  }
}

/** Unix ms by our clock: how far the archive goes from that dump on; 0: not at all. */
function replayedUntil({ position }: Dump, binlog: BinlogStatus | null): number {
  return position && binlog?.gaps.length === 0 ? (binlog.at ?? 0) : 0
}

const isLive = ({ deleted }: Library): boolean => !deleted

/** By the checklist's own measure: behind what the primary was last known to have, not seen to be whole, or with holes. */
function isLacking({ deleted, head, primaryHead, vouched, holes }: Library): boolean {
  if (deleted) return false
  return head !== primaryHead || (head !== null && vouched?.commit !== head) || holes.length > 0
}
