/**
 * What the command can do, one function a verb.
 *
 * Results go to standard output, progress and errors to standard error, so
 * that either can be piped alone. Each gives the exit code; what throws is
 * turned into one by `exitCodeOf`.
 */

import { refusal } from './client.js'
import { EXIT } from './exit.js'
import { openProgress, silentProgress } from './progress.js'
import { count, isBehind, renderFailure, renderSkipped, renderStatus } from './render.js'
import { renderHeadLog, renderLibraries } from './render-lists.js'
import type { LibraryStatus, SyncEvent, SyncRequest } from '../../src/shared/wire/control-messages.js'
import type { ControlClient } from './client.js'
import type { ExitCode } from './exit.js'

export interface StatusOptions {
  readonly verbose: boolean
  readonly json: boolean
}

export async function status(client: ControlClient, options: StatusOptions, signal: AbortSignal): Promise<ExitCode> {
  const { verbose, json } = options
  let report = await client.status({ libraries: verbose || json }, signal)
  // How long a library has waited is in its own entry; asked for only when there is one that waits.
  if (report.libraries === undefined && report.counts.waiting + report.counts.syncing > 0) {
    report = await client.status({ libraries: true }, signal)
  }
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : renderStatus(report, { verbose }))
  return isBehind(report) ? EXIT.behind : EXIT.ok
}

/** All of them, one a line, so that they can be sorted and searched. */
export async function libraries(
  client: ControlClient,
  { json }: { json: boolean },
  signal: AbortSignal,
): Promise<ExitCode> {
  const { libraries = [] } = await client.status({ libraries: true }, signal)
  process.stdout.write(json ? `${JSON.stringify(libraries, null, 2)}\n` : renderLibraries(libraries))
  return EXIT.ok
}

/** Every head that was recorded of a library, newest first. */
export async function log(
  client: ControlClient,
  { library, limit, json }: { library: string; limit: number; json: boolean },
  signal: AbortSignal,
): Promise<ExitCode> {
  const entries = await client.headLog(library, limit, signal)
  process.stdout.write(json ? `${JSON.stringify(entries, null, 2)}\n` : renderHeadLog(entries))
  return EXIT.ok
}

interface SyncOutcome {
  readonly libraries: readonly LibraryStatus[]
  readonly synchronized: number
  readonly failed: number
}

export async function sync(
  client: ControlClient,
  request: SyncRequest,
  { json }: { json: boolean },
  signal: AbortSignal,
): Promise<ExitCode> {
  const outcome = await follow(client.sync(request, signal), json)
  const [library] = outcome.libraries
  if (json) {
    const result = request.library === null ? outcome : (library ?? null)
    process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
  } else if (request.library === null) {
    printAll(outcome)
  } else if (library !== undefined) {
    printOne(library)
  }
  return outcome.failed === 0 ? EXIT.ok : EXIT.failed
}

async function follow(events: AsyncIterable<SyncEvent>, json: boolean): Promise<SyncOutcome> {
  using progress = json ? silentProgress : openProgress(process.stderr)
  const libraries: LibraryStatus[] = []
  let expected = 1
  let end = { synchronized: 0, failed: 0 }
  for await (const event of events) {
    switch (event.type) {
      case 'started':
        expected = event.libraries
        break
      case 'progress':
        progress.show(event.librariesDone, expected, event.progress)
        break
      case 'library':
        libraries.push(event.library)
        break
      case 'end':
        end = { synchronized: event.synchronized, failed: event.failed }
        break
      case 'error':
        throw refusal(event.error)
    }
  }
  return { libraries, ...end }
}

function printOne(library: LibraryStatus): void {
  if (library.state === 'synchronized') {
    const holes = library.holes > 0 ? ` with ${count(library.holes, 'missing object')}` : ''
    process.stdout.write([`${library.id} synchronized${holes}`, ...renderSkipped(library), ''].join('\n'))
  } else {
    process.stderr.write(describeFailed(library))
  }
}

function printAll({ libraries, synchronized, failed }: SyncOutcome): void {
  for (const library of libraries) process.stderr.write(describeFailed(library))
  process.stdout.write(`Synchronized: ${synchronized}, failed: ${failed}\n`)
}

function describeFailed({ id, state, failure }: LibraryStatus): string {
  if (failure === null) return `${id} ${state}\n`
  return [`${id} ${state}: ${failure.code}`, ...renderFailure(failure).map(line => `  ${line}`), ''].join('\n')
}
