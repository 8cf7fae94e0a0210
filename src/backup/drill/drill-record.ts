/** What drills have shown: `drill.json` in the state directory, for `status`; the reports beside it, for people. */

import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { makeDirectory } from '../../shared/durable-directory.js'
import { reason, systemCode } from '../../shared/errors.js'
import { lockState } from '../../shared/state-lock.js'
import { writeDurably } from '../../shared/store/durable-file.js'
import type { DrillStatus } from '../../shared/wire/control-messages.js'

const RECORD = 'drill.json'
const REPORTS = 'drills'
const REPORTS_MAX = 100

/** Null: none was made, or what is written there says nothing. */
export function lastDrill(stateDir: string): DrillStatus | null {
  try {
    const { at, ok, problem, okAt } = JSON.parse(readFileSync(join(stateDir, RECORD), 'utf8')) as Record<
      string,
      unknown
    >
    if (!isTime(at) || typeof ok !== 'boolean' || !(okAt === null || isTime(okAt))) return null
    return { at, ok, problem: typeof problem === 'string' ? problem : null, okAt }
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined || code === 'ENOENT') return null
    return { at: 0, ok: false, problem: `its record cannot be read: ${reason(error)}`, okAt: null }
  }
}

const isTime = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

/** `report` is written whole beside it; the oldest reports go. Gives the path of the report. */
export async function recordDrill(
  stateDir: string,
  { at, ok, problem }: Omit<DrillStatus, 'okAt'>,
  report: object,
): Promise<string> {
  const dir = join(stateDir, REPORTS)
  makeDirectory(dir, 0o700)
  const path = join(dir, `${new Date(at).toISOString().replaceAll(':', '')}.json`)
  await writeDurably(path, json(report))
  const okAt = ok ? at : (lastDrill(stateDir)?.okAt ?? null)
  await writeDurably(join(stateDir, RECORD), json({ at, ok, problem, okAt }))
  const reports = readdirSync(dir)
    .filter(name => name.endsWith('.json'))
    .sort()
  for (const name of reports.slice(0, -REPORTS_MAX)) rmSync(join(dir, name), { force: true })
  return path
}

/** Where a drill works. */
export const drillRoom = (stateDir: string): string => join(stateDir, 'drill')
const WORK = ['restored', 'restored.partial', 'mysql']

export function clearDrillRoom(stateDir: string): void {
  for (const name of WORK) rmSync(join(drillRoom(stateDir), name), { recursive: true, force: true })
}

/** For the daemon: what a drill that was killed has left takes room that syncing needs. */
export function removeLeftDrill(stateDir: string): void {
  if (!WORK.some(name => existsSync(join(drillRoom(stateDir), name)))) return
  try {
    using _none = lockState(drillRoom(stateDir))
    clearDrillRoom(stateDir)
  } catch {
    // one is under way, or what is there is not ours to remove
  }
}

const json = (value: object): Buffer => Buffer.from(`${JSON.stringify(value, null, 2)}\n`, 'utf8')
