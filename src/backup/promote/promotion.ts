/**
 * That this backup was made the server: `promotion.json` in the state directory. From the moment it is there no daemon
 * syncs here again, whatever becomes of the rest; also where the state directory is moved aside, by a marker in the data.
 *
 *   fenced ─▶ rows-saved ─▶ importing ─▶ tables ─▶ rows ─▶ done
 *
 * Each step may be done again, so that a promotion that was killed goes on where it was. `importing` alone is noted before
 * its work: from then on the tables may be half those of a dump.
 */

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BackupError, reason, systemCode } from '../../shared/errors.js'
import { isRepoId } from '../../shared/ids.js'
import { storeError, writeDurably } from '../../shared/store/durable-file.js'
import { fields, list, nullable, number, oneOf, text } from '../../shared/wire/json-fields.js'
import type { RepoId } from '../../shared/ids.js'

const FILE = 'promotion.json'
/** In seafile-data. */
const MARKER = 'seaf-backup-promoted.json'
const STEPS = ['fenced', 'rows-saved', 'importing', 'tables', 'rows', 'done'] as const
export type Step = (typeof STEPS)[number]

export interface Promotion {
  /** Of this promotion and no other. */
  readonly epoch: string
  /** Unix ms. */
  readonly at: number
  /** The last one that was brought to its end. */
  readonly step: Step
  /** Whose tables are taken; null: none. */
  readonly dump: string | null
  /** Unix ms: of when the tables are that were imported; null: none were, or it was not noted. */
  readonly tablesAsOf: number | null
  /** What the administrator agreed to lose, in the words of the checklist. */
  readonly accepted: readonly string[]
  /** Libraries that clients may hold newer states of than we do: their sync tokens go. */
  readonly ahead: readonly RepoId[]
  /** Libraries that the primary had deleted: they do not come back. */
  readonly deleted: readonly RepoId[]
  /** The administrator has said that the primary served nobody since it was heard last. */
  readonly keepTokens: boolean
  /** Unix ms: when the primary answered last while this was under way; null: not then. */
  readonly heardAt: number | null
}

export const newPromotion = (
  at: number,
  given: Pick<Promotion, 'dump' | 'accepted' | 'ahead' | 'deleted' | 'keepTokens' | 'heardAt'>,
): Promotion => ({
  epoch: randomBytes(8).toString('hex'),
  at,
  step: 'fenced',
  tablesAsOf: null,
  ...given,
})

/** Undefined: it was never promoted. @throws BackupError STATE_UNUSABLE for a file that cannot be read: it may be one */
export const readPromotion = (stateDir: string): Promotion | undefined => readFrom(join(stateDir, FILE), decoded)

export const writePromotion = (stateDir: string, promotion: Promotion): Promise<Promotion> =>
  writeTo(join(stateDir, FILE), promotion)

/** What is left of a promotion where its state directory was moved aside. */
export type Marker = Pick<Promotion, 'epoch' | 'at'>

/** As `readPromotion`, of the data itself. */
export const readMarker = (dataDir: string): Marker | undefined => readFrom(markerIn(dataDir), marked)

/** Beside the objects: with them it goes wherever a server may run on them. */
export async function markPromoted(dataDir: string, { epoch, at }: Marker): Promise<void> {
  if (readMarker(dataDir)?.epoch !== epoch) await writeTo(markerIn(dataDir), { epoch, at })
}

export const markerIn = (dataDir: string): string => join(dataDir, MARKER)

function readFrom<T>(file: string, decode: (json: unknown) => T): T | undefined {
  try {
    return decode(JSON.parse(readFileSync(file, 'utf8')))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    const message = `read ${file}: ${reason(error)}; it says that this backup was promoted. Remove it only when no server runs on this data`
    throw new BackupError('STATE_UNUSABLE', message, { file }, { cause: error })
  }
}

async function writeTo<T>(file: string, content: T): Promise<T> {
  try {
    await writeDurably(file, Buffer.from(`${JSON.stringify(content, null, 2)}\n`, 'utf8'))
    return content
  } catch (error) {
    throw storeError(`write ${file}`, error)
  }
}

function marked(json: unknown): Marker {
  const marker = fields(json, 'it')
  return { epoch: text(marker['epoch'], 'epoch'), at: number(marker['at'], 'at') }
}

export const isBefore = (promotion: Promotion, step: Step): boolean =>
  STEPS.indexOf(promotion.step) < STEPS.indexOf(step)

function decoded(json: unknown): Promotion {
  const promotion = fields(json, 'it')
  const repos = (name: string) =>
    list(promotion[name], name, repo => {
      if (!isRepoId(repo)) throw new TypeError(`${name} holds what is no library id`)
      return repo
    })
  return {
    epoch: text(promotion['epoch'], 'epoch'),
    at: number(promotion['at'], 'at'),
    step: oneOf(promotion['step'], 'step', STEPS),
    dump: nullable(promotion['dump'], dump => text(dump, 'dump')),
    tablesAsOf: nullable(promotion['tablesAsOf'] ?? null, at => number(at, 'tablesAsOf')),
    accepted: list(promotion['accepted'], 'accepted', word => text(word, 'accepted')),
    ahead: repos('ahead'),
    deleted: repos('deleted'),
    keepTokens: promotion['keepTokens'] === true,
    heardAt: nullable(promotion['heardAt'] ?? null, at => number(at, 'heardAt')),
  }
}
