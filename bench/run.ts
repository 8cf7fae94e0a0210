/**
 * `npm run bench`: ours beside the peers, on the same machine, in one run.
 *
 *   npm run bench -- [--only s1,s2] [--runs 3] [--scale 1] [--cold] [--long]
 *
 * Systems take turns, each copy goes into a directory that was never used, and
 * what is compared are medians. Tables are printed as they are measured and
 * written to `bench/results/<date>.md`. Everything else that is written lies in
 * one temporary directory and is deleted at the end, also after an interrupt.
 */

import { parseArgs } from 'node:util'
import { reason } from '../src/shared/errors.js'
import { Bench } from './bench.js'
import { firstCopyOfLarge, firstCopyOfSmall } from './kinds/first-copy.js'
import { librariesCurve, objectsCurve } from './kinds/cost-curve.js'
import { dump } from './kinds/dump.js'
import { interrupted } from './kinds/interrupted.js'
import { limits } from './kinds/limits.js'
import { narrowLine } from './kinds/narrow-line.js'
import { smallChange } from './kinds/small-change.js'
import { slowLine } from './kinds/slow-line.js'
import { sustained } from './kinds/sustained.js'
import { sweep } from './kinds/sweep.js'
import { verifyLarge } from './kinds/verify.js'
import { writerBeside } from './kinds/writer-beside.js'
import { machineFacts } from './machine.js'
import { missingPeers } from './peers/all.js'
import { Report } from './report.js'
import { Workspace } from './workspace.js'
import type { Measurement, Settings } from './bench.js'
import type { Section } from './report.js'

const MEASUREMENTS: readonly Measurement[] = [
  firstCopyOfSmall,
  firstCopyOfLarge,
  smallChange,
  interrupted,
  sweep,
  sustained,
  slowLine,
  narrowLine,
  writerBeside,
  limits,
  verifyLarge,
  dump,
  objectsCurve,
  librariesCurve,
]
const PROGRAMS = ['rsync', 'cp', 'tar', 'rclone', 'borg', 'restic', 'mariadbd']
const EXIT_INTERRUPTED = 130
/** At scale 1: copies of many files stay until the end. */
const ROOM_BYTES = { once: 12e9, eachRun: 8e9 } as const

interface Order extends Settings {
  readonly measurements: readonly Measurement[]
  readonly cold: boolean
}

/** Rejects with all that is wrong with the arguments. */
function readOrder(args: readonly string[]): Order {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      runs: { type: 'string', default: '3' },
      scale: { type: 'string', default: '1' },
      cold: { type: 'boolean', default: false },
      long: { type: 'boolean', default: false },
    },
  })
  const names = values.only?.split(',') ?? MEASUREMENTS.map(({ name }) => name)
  const unknown = names.filter(name => !MEASUREMENTS.some(measurement => measurement.name === name))
  const [runs, scale] = [Number(values.runs), Number(values.scale)]
  const known = MEASUREMENTS.map(({ name, about }) => `  ${name.padEnd(12)}${about}`).join('\n')
  if (unknown.length > 0) throw new Error(`--only: no measurement is called ${unknown.join(', ')}; there are\n${known}`)
  if (!Number.isInteger(runs) || runs < 1) throw new Error(`--runs: a whole number from 1 on, not ${values.runs}`)
  if (!(scale > 0 && scale <= 10)) throw new Error(`--scale: above 0 up to 10, not ${values.scale}`)
  const measurements = MEASUREMENTS.filter(({ name }) => names.includes(name))
  return { measurements, runs, scale, cold: values.cold, long: values.long }
}

async function main(): Promise<void> {
  const order = readOrder(process.argv.slice(2))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(EXIT_INTERRUPTED))
  for (const peer of missingPeers()) console.log(`${peer.name} is left out: ${peer.programs.join(', ')} not installed`)
  using workspace = Workspace.open(order)
  expectRoom(workspace, order)
  const bench = new Bench(workspace, order)
  const how = `medians of ${order.runs} runs in turn, sizes times ${order.scale}, caches ${order.cold ? 'dropped' : 'warm'} before each`
  const report = new Report([...machineFacts(workspace.dir, PROGRAMS), how], { trial: order.scale !== 1 })
  for (const measurement of order.measurements) report.add(await sectionOf(measurement, bench))
  console.log(`\nwritten to ${report.path}`)
}

/** One that fails is said in the report, and costs the others nothing. */
async function sectionOf({ name, about, run }: Measurement, bench: Bench): Promise<Section> {
  bench.say(`${name}: ${about}`)
  try {
    return await run(bench)
  } catch (error) {
    process.exitCode = 1
    return { title: `${name}: ${about}`, tables: [], notes: [`Not measured: ${reason(error)}`] }
  }
}

/** @throws when a disk would be full before all is measured */
function expectRoom({ free, dir }: Workspace, { scale, runs }: Settings): void {
  const needed = (ROOM_BYTES.once + ROOM_BYTES.eachRun * runs) * scale
  if (free >= needed) return
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(0)} GB`
  throw new Error(
    `${dir}: all of it takes up to ${gigabytes(needed)}, ${gigabytes(free)} are free; set TMPDIR or --scale`,
  )
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
