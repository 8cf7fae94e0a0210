/** What drills have shown: `drill.json` in the state directory, for `status`; the reports beside it, for people. */

import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
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
  } catch {
    return null
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
  mkdirSync(dir, { recursive: true, mode: 0o700 })
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

const json = (value: object): Buffer => Buffer.from(`${JSON.stringify(value, null, 2)}\n`, 'utf8')
