/** Run under strace by store.test.ts: what several users of one store do, one after another. Says what was committed. */

import { fsyncSync, mkdirSync, openSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { makeDirectory } from '../../src/shared/durable-directory.js'
import { lockState } from '../../src/shared/state-lock.js'
import { DiskObjectStore } from '../../src/shared/store/disk-object-store.js'
import { block } from '../support/objects.js'
import type { VerifiedObject } from '../../src/shared/store/verify.js'

const never = new AbortController().signal
const some = (count: number): VerifiedObject[] => Array.from({ length: count }, (_, n) => block(`block ${n}`))

/** Prints a line for each object that is promised from now on. */
async function commit(store: DiskObjectStore, ...objects: readonly VerifiedObject[]): Promise<void> {
  const batch = store.openBatch()
  for (const object of objects) await batch.put(object)
  await batch.commit(never)
  promise(store, objects)
}

function promise(store: DiskObjectStore, objects: readonly VerifiedObject[]): void {
  writeSync(1, objects.map(({ ref }) => `${store.path(ref)}\n`).join(''))
}

/** As far as a batch comes that is killed before it syncs the directories. */
function placedAndKilled(store: DiskObjectStore, object: VerifiedObject): void {
  const temp = `${store.tempDir}/killed-${object.ref.id}`
  const fd = openSync(temp, 'wx', 0o600)
  writeSync(fd, object.bytes)
  fsyncSync(fd)
  mkdirSync(dirname(store.path(object.ref)), { recursive: true })
  renameSync(temp, store.path(object.ref))
}

/** By a pull that has yet to commit. */
function placedAndNotSynced(store: DiskObjectStore, { ref, bytes }: VerifiedObject): void {
  mkdirSync(dirname(store.path(ref)), { recursive: true })
  writeFileSync(store.path(ref), bytes, { mode: 0o600 })
}

const OTHER_REPO = '0b1ec700-0000-4000-8000-000000000002'

const STEPS: Readonly<Record<string, (store: DiskObjectStore) => Promise<void>>> = {
  few: store => commit(store, ...some(5)),

  many: store => commit(store, ...some(300)),

  'few after many': async store => {
    await commit(store, ...some(300))
    await commit(store, ...some(303))
  },

  'a directory that a killed process made': async store => {
    const [object] = some(1) as [VerifiedObject]
    mkdirSync(dirname(store.path(object.ref)), { recursive: true })
    await commit(store, object)
  },

  'objects that a killed process placed': async store => {
    for (const object of some(5)) placedAndKilled(store, object)
    await commit(store, ...some(7))
  },

  'many objects that a killed process placed': async store => {
    for (const object of some(80)) placedAndKilled(store, object)
    await commit(store, ...some(80))
  },

  'objects of a batch that was placed and could not be committed': async store => {
    const batch = store.openBatch()
    for (const object of some(60)) await batch.put(object)
    const committing = batch.commit(never)
    await new Promise(setImmediate) // the first `sync -f` runs, the second will fail
    const { storage } = store
    Object.assign(store, { storage: `${storage}-nowhere` })
    if (!(await committing.catch(() => 'failed'))) throw new Error('it was committed')
    Object.assign(store, { storage })
    await commit(store, ...some(3))
  },

  'objects that were found by a reader': async store => {
    for (const object of some(3)) placedAndKilled(store, object)
    const batch = store.openBatch()
    for (const { ref } of some(3)) batch.found(ref)
    await batch.commit(never)
    promise(store, some(3))
  },

  'blocks that another library holds and did not make durable': async store => {
    for (const count of [3, 80]) {
      const batch = store.openBatch()
      const objects = some(count)
      for (const object of objects) {
        const theirs = { ...object, ref: { ...object.ref, storeId: OTHER_REPO } }
        if (store.read(theirs.ref).state !== 'whole') placedAndNotSynced(store, theirs)
        await batch.share(object.ref, theirs.ref)
      }
      await batch.commit(never)
      promise(store, objects)
    }
  },

  'a state directory that was made': async store => {
    const stateDir = join(store.dataDir, '..', 'elsewhere', 'state')
    using _lock = lockState(stateDir)
    const [object] = some(1) as [VerifiedObject]
    const path = join(stateDir, object.ref.id.slice(0, 2), object.ref.id.slice(2))
    makeDirectory(dirname(path), 0o700)
    for (const target of [path, dirname(path)]) {
      const fd = openSync(target, target === path ? 'wx' : 'r')
      if (target === path) writeSync(fd, object.bytes)
      fsyncSync(fd)
    }
    writeSync(1, `${path}\n`)
  },
}

export const STEP_NAMES = Object.keys(STEPS)

const [dataDir, name] = process.argv.slice(2)
if (dataDir !== undefined && name !== undefined) {
  const store = new DiskObjectStore(dataDir)
  store.prepare()
  await STEPS[name]?.(store)
  process.exit(0)
}
