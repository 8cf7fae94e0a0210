/**
 * One library out of the backup's store into another: each object that its head owes is read, verified, and written
 * durably. What is found damaged on the way is what verify would find.
 */

import { LibraryCheck } from '../verify/library-check.js'
import { IdSet } from '../../shared/seafile/id-set.js'
import { DiskObjectReader } from '../../shared/store/disk-object-store.js'
import type { CommitId } from '../../shared/ids.js'
import type { ObjectBatch, ObjectRef, ReadObject } from '../../shared/store/object-store.js'
import type { DiskObjectStore } from '../../shared/store/disk-object-store.js'
import type { CheckCounts, CheckedLibrary, Finding } from '../verify/library-check.js'

export interface CopiedLibrary {
  readonly findings: readonly Finding[]
  /** All of them; at most FINDINGS_MAX are listed. */
  readonly damaged: number
  readonly counts: CheckCounts
}

const FINDINGS_MAX = 1_000

/** When it resolves, everything whole is durable in `to`. @throws BackupError STORE_… of the target */
export async function copyLibrary(
  library: CheckedLibrary,
  fromDataDir: string,
  to: DiskObjectStore,
  onTurn: (counts: CheckCounts) => void,
  signal: AbortSignal,
): Promise<CopiedLibrary> {
  const batch = to.openBatch()
  const from = new CopyingReader(fromDataDir, batch)
  const check: LibraryCheck = new LibraryCheck(from, library, { history: true, readData: true }, async () => {
    onTurn(check.counts)
    await from.settled()
  })
  const findings: Finding[] = []
  let damaged = 0
  try {
    for await (const finding of check.findings(signal)) {
      damaged += 1
      if (findings.length < FINDINGS_MAX) findings.push(finding)
    }
    await copyOlderCommits(from, library, signal)
    await from.settled()
    await batch.commit(signal)
  } catch (error) {
    await batch.discard()
    throw error
  }
  return { findings, damaged, counts: check.counts }
}

/**
 * Those whose trees nobody keeps: the history view shows them, seaf-gc walks them. One that is not there is no damage.
 * What was copied before is read once more; it is there and whole, and stays.
 */
async function copyOlderCommits(
  from: CopyingReader,
  { repo, head }: CheckedLibrary,
  signal: AbortSignal,
): Promise<void> {
  const visited = new IdSet()
  const todo: CommitId[] = [head]
  for (let id = todo.pop(); id; id = todo.pop()) {
    signal.throwIfAborted()
    if (!visited.add(id)) continue
    const read = from.read({ kind: 'commits', storeId: repo, id })
    if (read.state !== 'whole' || read.object.is !== 'commit') continue
    for (const parent of [read.object.commit.parentId, read.object.commit.secondParentId]) if (parent) todo.push(parent)
    await from.settled()
  }
}

/** Whatever is read whole is put where it is to go. */
class CopyingReader extends DiskObjectReader {
  #putting: Promise<void> | undefined

  constructor(
    dataDir: string,
    private readonly batch: ObjectBatch,
  ) {
    super(dataDir)
  }

  override read(ref: ObjectRef): ReadObject {
    const read = super.read(ref)
    if (read.state === 'whole') {
      const putting = this.batch.put(read.object)
      if (putting) this.#putting = Promise.all([this.#putting, putting]).then(() => {})
    }
    return read
  }

  /** Resolves when no more than the batch's own bound waits to be written. */
  async settled(): Promise<void> {
    const putting = this.#putting
    this.#putting = undefined
    await putting
  }
}
