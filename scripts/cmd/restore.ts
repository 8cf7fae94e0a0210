/** The verb `restore`: works with no daemon, so it is loaded only when it is asked for. */

import { hostTimeZone, parseInstant } from '../../src/backup/restore/instant.js'
import { planOnly, restore as restoreAll } from '../../src/backup/restore/restore.js'
import { COMMITS_COUNTED_MAX } from '../../src/backup/restore/restore-plan.js'
import { EXIT } from './exit.js'
import { openCounter } from './progress.js'
import { byteSize, count, plain } from './render.js'
import { time } from './render-lists.js'
import type { RestoreEvents, Restored } from '../../src/backup/restore/restore.js'
import type { LeftOut, PlannedLibrary, RestorePlan } from '../../src/backup/restore/restore-plan.js'
import type { DirectoryFlags } from '../../src/shared/directories.js'
import type { CheckCounts } from '../../src/backup/verify/library-check.js'
import type { ExitCode } from './exit.js'
import type { Counter } from './progress.js'

export interface RestoreOptions {
  readonly to: string
  readonly at: string
  readonly library: readonly string[]
  readonly database?: string
  readonly withoutTables: boolean
  readonly withoutBinlog: boolean
  readonly tablesOnly: boolean
  readonly withDeleted: boolean
  readonly acceptHoles: boolean
  readonly dryRun: boolean
  readonly force: boolean
  readonly json: boolean
}

const DAMAGE_SHOWN_MAX = 10

/** Exit code 1 when a library that ought to be there is not. */
export async function restore(flags: DirectoryFlags, options: RestoreOptions, signal: AbortSignal): Promise<ExitCode> {
  const {
    to,
    library: libraries,
    withDeleted,
    withoutTables,
    withoutBinlog,
    tablesOnly,
    acceptHoles,
    force,
    json,
  } = options
  const order = { at: parseInstant(options.at, hostTimeZone(), Date.now()), libraries, withDeleted, withoutBinlog }
  const request = { ...order, to, server: options.database ?? null, withoutTables, tablesOnly, acceptHoles, force }
  using counter = openCounter(process.stderr)
  const view = json ? new JsonView(counter) : new TextView(counter)
  if (options.dryRun) {
    const plan = await planOnly(flags, request, signal)
    view.planned(plan)
    for (const left of plan.leftOut) view.leftOut(left, null)
    return plan.leftOut.some(({ isLoss }) => isLoss) ? EXIT.failed : EXIT.ok
  }
  const restored = await restoreAll(flags, request, view, signal)
  view.end(restored)
  return restored.lost === 0 ? EXIT.ok : EXIT.failed
}

type Copied = Parameters<RestoreEvents['copied']>[1]

abstract class View implements RestoreEvents {
  constructor(private readonly counter: Counter) {}

  abstract planned(plan: RestorePlan): void
  abstract copied(library: PlannedLibrary, copied: Copied): void
  abstract leftOut(library: LeftOut, copied: Copied | null): void
  abstract end(restored: Restored): void

  progress(done: number, libraries: number, { commits, fs, blocks, bytes }: CheckCounts): void {
    const objects = commits + fs + blocks
    this.counter.show(
      () => `${done} of ${count(libraries, 'library')}; ${count(objects, 'object')}, ${byteSize(bytes)}`,
    )
  }

  protected line(text: string): void {
    this.counter.clear()
    process.stdout.write(`${text}\n`)
  }
}

class TextView extends View {
  planned(plan: RestorePlan): void {
    const { at, libraries } = plan
    this.line(`As of ${at === null ? 'now' : time(at)}: ${libraries.length} libraries`)
    for (const line of tablesLines(plan)) this.line(line)
    for (const { repo, name, goesBack } of libraries) {
      if (!goesBack) continue
      const { commits, until } = goesBack
      const many = commits >= COMMITS_COUNTED_MAX ? `${commits} commits or more` : count(commits, 'commit')
      const newest = until === null ? '' : `, the newest of ${time(until * 1000)}`
      this.line(`${repo} goes back: without ${many}${newest} (${shown(name)})`)
    }
    for (const { repo, name, deletedSometime } of libraries) {
      if (deletedSometime) this.line(`${repo} comes back: the primary deleted it, nobody noted when (${shown(name)})`)
    }
  }

  copied({ repo, name }: PlannedLibrary, { counts, damaged }: Copied): void {
    const holes = damaged > 0 ? ` without ${count(damaged, 'damaged object')}` : ''
    this.line(`${repo} copied${holes}: ${count(counts.blocks, 'block')}, ${byteSize(counts.bytes)} (${shown(name)})`)
  }

  leftOut({ repo, name, why, isLoss }: LeftOut, copied: Copied | null): void {
    this.line(`${repo} ${isLoss ? 'NOT RESTORED' : 'left out'}: ${plain(why)} (${shown(name)})`)
    const findings = copied?.findings ?? []
    for (const { kind, id, problem, path } of findings.slice(0, DAMAGE_SHOWN_MAX)) {
      this.line(`  ${path === null ? 'its commits' : plain(path)}: ${kind} ${id} is ${problem}`)
    }
    if (copied && copied.damaged > DAMAGE_SHOWN_MAX) this.line(`  and ${copied.damaged - DAMAGE_SHOWN_MAX} more`)
  }

  end({ to, libraries, lost, removedRows, signedOut, bytes }: Restored): void {
    if (signedOut > 0)
      this.line(`Clients of ${count(signedOut, 'library')} must sign in again: they may hold more than is restored`)
    if (removedRows > 0) this.line(`Rows of ${count(removedRows, 'library')} that is not there were removed`)
    const verdict = lost === 0 ? 'none missing' : `${lost} NOT RESTORED`
    this.line(`Restored to ${to}: ${libraries} libraries, ${verdict}, ${byteSize(bytes)}`)
  }
}

/** Of when they are, what of, and if that is not what was asked for, why. */
function tablesLines({ at, dump, between: { replay, short } }: RestorePlan): string[] {
  if (!dump && short !== null) return [`Other tables: none are restored: ${short}`]
  if (!dump) return ['Other tables: there is no dump of that time: of the other tables nothing is restored']
  const from = `dump ${dump.id}, asked for ${time(dump.askedAt)}`
  const lines = replay
    ? [
        `Other tables: all as of ${time(replay.asOf)}: ${from}, and ${count(replay.transactions, 'transaction')} of the binlog after it`,
      ]
    : [`Other tables: ${from}`]
  if (short !== null) lines.push(`  ${at === null ? 'nothing after it' : `not as of ${time(at)}`}: ${plain(short)}`)
  if (replay && replay.skewMs !== 0) {
    const seconds = (Math.abs(replay.skewMs) / 1000).toFixed(0)
    const way = replay.skewMs > 0 ? 'ahead of' : 'behind'
    lines.push(`  the clock of the primary's database is ${seconds} s ${way} ours: that is taken into account`)
  }
  return lines
}

const shown = (name: string | null): string => (name === null ? 'name unknown' : plain(name))

/** One JSON object a line. */
class JsonView extends View {
  planned({ at, dump, between, libraries }: RestorePlan): void {
    const { replay, short } = between
    const shown = libraries.map(({ repo, name, rows, since, goesBack }) => ({
      repo,
      name,
      head: rows.head,
      since,
      goesBack,
    }))
    const tables = {
      dump: dump?.id ?? null,
      asOf: replay?.asOf ?? dump?.askedAt ?? null,
      transactions: replay?.transactions ?? 0,
      clockSkewMs: replay?.skewMs ?? null,
      notAsAsked: short,
    }
    this.line(JSON.stringify({ type: 'plan', at, dump: dump?.id ?? null, tables, libraries: shown }))
  }

  copied({ repo }: PlannedLibrary, { counts, damaged }: Copied): void {
    this.line(JSON.stringify({ type: 'copied', library: repo, ...counts, damaged }))
  }

  leftOut({ repo, ...left }: LeftOut, copied: Copied | null): void {
    this.line(JSON.stringify({ type: 'left-out', library: repo, ...left, findings: copied?.findings ?? [] }))
  }

  end(restored: Restored): void {
    this.line(JSON.stringify({ type: 'end', ...restored }))
  }
}
