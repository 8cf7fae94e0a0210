/** The verb `drill`: works with no daemon, so it is loaded only when it is asked for. */

import { drill as rehearse } from '../../src/backup/drill/drill.js'
import { duration } from '../../src/shared/duration.js'
import { EXIT } from './exit.js'
import { openCounter } from './progress.js'
import { byteSize, count, plain } from './render.js'
import { time } from './render-lists.js'
import type { DrillReport } from '../../src/backup/drill/drill.js'
import type { DirectoryFlags } from '../../src/shared/directories.js'
import type { ExitCode } from './exit.js'

const PROBLEMS_SHOWN_MAX = 20

/** Exit code 1 when anything would be missing on the day. */
export async function drill(
  flags: DirectoryFlags,
  { acceptHoles, json }: { readonly acceptHoles: boolean; readonly json: boolean },
  signal: AbortSignal,
): Promise<ExitCode> {
  using counter = openCounter(process.stderr)
  const report = await rehearse(
    flags,
    { acceptHoles },
    (done, libraries, { bytes }) => counter.show(() => `${done} of ${libraries} libraries, ${byteSize(bytes)}`),
    signal,
  )
  counter.clear()
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : rendered(report))
  return report.ok ? EXIT.ok : EXIT.failed
}

const APART_SHOWN_MAX = 10

/** Only tables that did not change since the dump can be judged; of the others it is said how far they are apart. */
function besidePrimary({ besidePrimary: beside, primaryWhy }: DrillReport): string[] {
  if (primaryWhy !== null) return [`The primary was not asked for its rows: ${plain(primaryWhy)}`]
  if (beside === null) return []
  const { judged, moving, apart, notCounted } = beside
  const left = notCounted > 0 ? `; ${count(notCounted, 'table')} would have taken too long to count` : ''
  return [
    `The primary now: ${count(judged, 'table')} unchanged since the dump, ${moving} that may have changed, ${apart.length} of them with another number of rows${left}`,
    ...apart
      .slice(0, APART_SHOWN_MAX)
      .map(({ table, dumped, now }) => `  ${plain(table)}: ${dumped} in the dump, ${now} now`),
  ]
}

function rendered({ file, ...report }: DrillReport & { readonly file: string }): string {
  const { ok, problems, tookMs, restored, dump, tables, replayed, tablesCompared, rowsCompared, files } = report
  const lines = [
    `Drill ${ok ? 'succeeded' : 'FAILED'} in ${duration(tookMs)}`,
    ...problems.slice(0, PROBLEMS_SHOWN_MAX).map(problem => `  ${plain(problem)}`),
    ...(problems.length > PROBLEMS_SHOWN_MAX ? [`  and ${problems.length - PROBLEMS_SHOWN_MAX} more`] : []),
    ...(restored
      ? [
          `Libraries: ${restored.libraries} restored, ${restored.lost} not; ${count(restored.commits + restored.fs + restored.blocks, 'object')}, ${byteSize(restored.bytes)}`,
        ]
      : []),
    dump
      ? `Other tables: dump ${dump.id}, ${duration(dump.ageMs)} old, ${tables}; ${count(rowsCompared, 'row')} in ${count(tablesCompared, 'table')} compared`
      : 'Other tables: no dump',
    ...(replayed
      ? [`Binlog after it: ${count(replayed.transactions, 'transaction')}, up to ${time(replayed.asOf)}`]
      : []),
    ...besidePrimary(report),
    `Files put together: ${files.length}`,
    `Report: ${file}`,
  ]
  return `${lines.join('\n')}\n`
}
