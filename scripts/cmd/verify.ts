/** The verb `verify`: works with no daemon, so it is loaded only when it is asked for. */

import { verifyCopy } from '../../src/backup/verify/verify-copy.js'
import { EXIT } from './exit.js'
import { openCounter } from './progress.js'
import { byteSize, count, plain } from './render.js'
import type { CheckCounts, Finding } from '../../src/backup/verify/library-check.js'
import type { VerifyEvents, VerifyOrder, Verified } from '../../src/backup/verify/verify-copy.js'
import type { DirectoryFlags } from '../../src/shared/directories.js'
import type { ExitCode } from './exit.js'
import type { Counter } from './progress.js'

const KIND = { commits: 'commit', fs: 'fs object', blocks: 'block' } as const

/** Prints each finding when it is found. Exit code 1 when there is any. */
export async function verify(
  flags: DirectoryFlags,
  order: VerifyOrder,
  { json }: { json: boolean },
  signal: AbortSignal,
): Promise<ExitCode> {
  using counter = openCounter(process.stderr)
  const view = json ? new JsonView(counter) : new TextView(counter)
  const verified = await verifyCopy(flags, order, view, signal)
  view.end(verified)
  return verified.findings === 0 ? EXIT.ok : EXIT.failed
}

abstract class View implements VerifyEvents {
  constructor(private readonly counter: Counter) {}

  abstract finding(repo: string, finding: Finding): void
  abstract done(repo: string, head: string | null, counts: CheckCounts, findings: number): void

  progress(done: number, libraries: number, repo: string, counts: CheckCounts): void {
    this.counter.show(() => `${done} of ${libraries} libraries; ${repo}: ${shownCounts(counts)}`)
  }

  /** Nothing of the counter stays in a line of the result. */
  protected line(text: string): void {
    this.counter.clear()
    process.stdout.write(`${text}\n`)
  }
}

class TextView extends View {
  finding(repo: string, { kind, id, problem, path, where, why }: Finding): void {
    const place = path === null ? 'its commits' : plain(path)
    const history = where === 'history' ? ', in history only' : ''
    this.line(`${repo} ${place}: ${KIND[kind]} ${id} is ${problem} (${plain(why)})${history}`)
  }

  done(repo: string, head: string | null, counts: CheckCounts, findings: number): void {
    const state = findings === 0 ? 'whole' : `${count(findings, 'damaged object')}`
    this.line(`${repo} ${head === null ? 'has no head' : `${state}, ${shownCounts(counts)}`}`)
  }

  end(verified: Verified): void {
    const { libraries, damagedLibraries, findings } = verified
    const verdict = findings === 0 ? 'all whole' : `${damagedLibraries} damaged, ${count(findings, 'object')} in all`
    this.line(`Verified libraries: ${libraries}, ${verdict}; ${shownCounts(verified)}`)
  }
}

const shownCounts = ({ commits, fs, blocks, bytes }: CheckCounts): string =>
  `${count(commits, 'commit')}, ${count(fs, 'fs object')}, ${count(blocks, 'block')}, ${byteSize(bytes)} read`

/** One JSON object a line: a library can have a million findings. */
class JsonView extends View {
  finding(library: string, finding: Finding): void {
    this.line(JSON.stringify({ type: 'finding', library, ...finding }))
  }

  done(library: string, head: string | null, counts: CheckCounts, findings: number): void {
    this.line(JSON.stringify({ type: 'library', library, head, ...counts, findings }))
  }

  end(verified: Verified): void {
    this.line(JSON.stringify({ type: 'end', ...verified }))
  }
}
