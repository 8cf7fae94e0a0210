/**
 * `npm run demo`: what this project does, in under a minute, on a sample or (read-only) on an installation of Seafile.
 *
 *   npm run demo
 *   npm run demo -- --primary DIR     DIR holds conf/seafile.conf and seafile-data
 *
 * Every figure that is printed was measured in this run.
 */

import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openCatalog, openCatalogReader } from '../src/shared/catalog/open-catalog.js'
import { readPrimaryConfig } from '../src/shared/config.js'
import { asBackupError } from '../src/shared/errors.js'
import { silentLog } from '../src/shared/log.js'
import { LibraryWriter } from '../src/shared/seafile/library-writer.js'
import { duration } from '../src/shared/duration.js'
import { byteSize, count } from './cmd/render.js'
import { compareSides } from './demo/compare.js'
import { Stage, flags, readExistingConf } from './demo/stage.js'
import { bytesUnderWay, headSeen, never, openSide, settled } from './demo/watch.js'
import { timedCatalog } from './local/timed-catalog.js'
import { SAMPLE_PASSWORD, makeSamplePrimary } from './sample-primary.js'
import type { CatalogWriter } from '../src/shared/catalog/catalog.js'
import type { CommitId, RepoId } from '../src/shared/ids.js'
import type { StatusReport } from '../src/shared/wire/control-messages.js'
import type { TimedCatalog } from './local/timed-catalog.js'
import type { SampleLibrary } from './sample-primary.js'

const MIB = 1024 * 1024
const LARGE_BYTES = 200 * MIB
const KILLED_AT_BYTES = 80 * MIB
/** An installation may be large: a first copy takes what it takes. */
const EXISTING_PATIENCE_MS = 7 * 24 * 3_600_000
const SAY_EVERY_MS = 5_000
const COMMAND = fileURLToPath(new URL('../../bin/seaf-backup-cmd.cjs', import.meta.url))

const say = (text = ''): void => void process.stdout.write(`${text}\n`)
const numberOf = (libraries: number): string => (libraries === 1 ? '1 library' : `${libraries} libraries`)
const act = (title: string): void => say(`\n=== ${title}`)

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { primary: { type: 'string' } }, strict: true })
  const stage = await Stage.lay(values.primary)
  let agree: boolean
  try {
    agree = values.primary === undefined ? await onSample(stage) : await onExisting(stage, values.primary)
  } finally {
    await stage[Symbol.asyncDispose]()
  }
  act('Where everything is')
  say(`${stage.dir}: seafile.conf and state of both sides, and the logs of both daemons`)
  say(`the backup: ${stage.backup.dataDir}, a seafile-data with its database that a Seafile server can use as it is`)
  process.exitCode = agree ? 0 : 1
}

async function onSample(stage: Stage): Promise<boolean> {
  act('A sample primary: five libraries with history')
  const sample = await makeSamplePrimary(`${stage.dir}/primary`)
  for (const { id, name, kind } of sample.libraries) say(`${id}  ${name} (${kind})`)
  const theirs = await readExistingConf(`${stage.dir}/primary`)
  await sample[Symbol.asyncDispose]()

  await using catalog = await openCatalog({ type: 'sqlite', path: `${stage.primary.dataDir}/seafile.db` }, silentLog, {
    create: true,
  })
  await startAndCopy(stage, theirs)
  await liveCommits(stage, catalog, sample.libraries)
  await killedInTheMiddle(stage, catalog, sample.libraries)
  return await showAgreement(stage)
}

async function onExisting(stage: Stage, dir: string): Promise<boolean> {
  act(`The installation in ${dir}: only read, so nothing is committed there`)
  await startAndCopy(stage, await readExistingConf(dir))
  return showAgreement(stage)
}

async function startAndCopy(stage: Stage, theirs: string): Promise<void> {
  act('Agent and backup daemon start, each a process; the first copy')
  const startedAt = performance.now()
  await stage.start(theirs)
  let saidAt = startedAt
  const onWait = ({ counts: { total, synchronized } }: StatusReport): void => {
    if (performance.now() - saidAt < SAY_EVERY_MS) return
    saidAt = performance.now()
    say(`${synchronized} of ${numberOf(total)} synchronized`)
  }
  await settled(stage.client, { onWait, patienceMs: EXISTING_PATIENCE_MS })
  say(`done ${duration(performance.now() - startedAt)} after the first process was started`)
  showStatus(stage)
}

/** As the administrator would: the command, in a process of its own. */
function showStatus(stage: Stage): void {
  say('\n$ seaf-backup-cmd status')
  spawnSync(process.execPath, [COMMAND, 'status', ...flags(stage.backup)], { stdio: ['ignore', 'inherit', 'inherit'] })
}

class TimedWriter {
  readonly #timed: TimedCatalog
  readonly #writer: LibraryWriter

  constructor(dataDir: string, catalog: CatalogWriter) {
    this.#timed = timedCatalog(catalog)
    this.#writer = new LibraryWriter({ dataDir, catalog: this.#timed.catalog })
  }

  get committedAt(): number {
    return this.#timed.movedAt()
  }

  unlock(repo: RepoId): Promise<void> {
    return this.#writer.unlock(repo, SAMPLE_PASSWORD)
  }

  /** Without merging into virtual libraries, which would be commits of their own. */
  put(repo: RepoId, path: string, content: Buffer): Promise<CommitId> {
    return this.#writer.commit(repo, [{ op: 'put', path, content }], { propagate: false })
  }
}

async function liveCommits(stage: Stage, catalog: CatalogWriter, libraries: readonly SampleLibrary[]): Promise<void> {
  act("Live commits: from the head's commit on the primary to the durable head on the backup")
  const writer = new TimedWriter(stage.primary.dataDir, catalog)
  await using backup = await openSide(stage.backup)
  for (const { id, name, kind } of [...libraries, ...libraries]) {
    if (kind === 'encrypted') await writer.unlock(id)
    const path = `/note ${Date.now()}.txt`
    const head = writer.put(id, path, randomBytes(2_000))
    const seenAt = await headSeen(backup, id, await head)
    say(`${`${(seenAt - writer.committedAt).toFixed(1)} ms`.padStart(9)}  ${name}: put ${path}`)
    await delay(20)
  }
}

async function killedInTheMiddle(
  stage: Stage,
  catalog: CatalogWriter,
  libraries: readonly SampleLibrary[],
): Promise<void> {
  act(`A file of ${byteSize(LARGE_BYTES)}, and kill -9 of the backup daemon in the middle of it`)
  const photos = libraries.find(({ kind }) => kind === 'photos') as SampleLibrary
  const writer = new TimedWriter(stage.primary.dataDir, catalog)
  const head = await writer.put(photos.id, '/film.mov', randomBytes(LARGE_BYTES))
  while ((await bytesUnderWay(stage.client)) < KILLED_AT_BYTES) await delay(2)
  const stored = await bytesUnderWay(stage.client)
  const pid = stage.backupPid
  await stage.killBackup()
  say(`killed process ${pid} with ${byteSize(stored)} of it stored`)
  await using backup = await openSide(stage.backup)
  const heads = await backup.heads(never)
  say(
    `its head on the backup is ${heads.get(photos.id) === head ? 'the new one' : 'still the one before, which is whole'}`,
  )

  const startedAt = performance.now()
  await stage.startBackup()
  const seenAt = await headSeen(backup, photos.id, head)
  await settled(stage.client)
  say(`started again: the new head is durable ${duration(seenAt - startedAt)} later`)
  const again = stage.bytesPulledFor(head)
  if (again !== undefined) say(`fetched after the restart: ${byteSize(again)} of ${byteSize(LARGE_BYTES)}`)
}

async function showAgreement(stage: Stage): Promise<boolean> {
  act('Both sides, object by object')
  const status = await settled(stage.client)
  await using catalog = await openCatalogReader(
    readPrimaryConfig({ conf: stage.primary.confDir, data: stage.primary.dataDir }).database,
    silentLog,
  )
  const primary = { ...stage.primary, catalog }
  const result = await compareSides(primary, stage.backup, new Set(status.failed))
  for (const difference of result.differences) say(difference)
  const verdict = result.differences.length === 0 ? 'agree' : `do not all agree: ${result.differences.length} differ`
  say(`${numberOf(result.libraries)}: heads and rows ${verdict}`)
  say(
    `${count(result.objects, 'object')} of their latest states, ${byteSize(result.bytes)}: verified, byte for byte the primary's`,
  )
  if (status.failed.length > 0)
    say(`not compared, because the primary itself is damaged there: ${status.failed.join(', ')}`)
  showStatus(stage)
  return result.differences.length === 0
}

main().catch((error: unknown) => {
  const { message } = asBackupError(error)
  process.stderr.write(`demo: ${message}\n`)
  process.exitCode = 2
})
