/** A store that holds any part of a library, some of it damaged: what is asked for is the rest, and nothing else. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { BlockIndex } from '../../../src/backup/state/block-index.js'
import { Frontier } from '../../../src/backup/sync/frontier.js'
import { ObjectIntake } from '../../../src/backup/sync/object-intake.js'
import { factsFrom } from '../../../src/backup/sync/own-history.js'
import { OwnObjects } from '../../../src/backup/sync/own-objects.js'
import { FRAME } from '../../../src/shared/wire/frames.js'
import { OnDisk } from '../../shared/store/disk-support.js'
import { REPO, block, commit, commitIdOf, dir, file } from '../../support/objects.js'
import type { PullSource } from '../../../src/backup/sync/primary-client.js'
import type { DiskObjectStore } from '../../../src/shared/store/disk-object-store.js'
import type { VerifiedObject } from '../../../src/shared/store/verify.js'

const never = new AbortController().signal
const FRAME_OF = { commit: FRAME.commit, fs: FRAME.fs, block: FRAME.block }
const idsOf = (objects: readonly VerifiedObject[]) => objects.map(({ ref }) => ref.id).sort()

/** Three commits, each with a folder of its own beside those before; the newest is last. */
function library(files: number): VerifiedObject[] {
  const objects: VerifiedObject[] = []
  const keep = (object: VerifiedObject) => (objects.push(object), object)
  const folders: Record<string, VerifiedObject> = {}
  for (let n = 0; n < 3; n++) {
    const made = Array.from({ length: files }, (_, i) => {
      const content = keep(block(`${n} ${i}`))
      return [`${i}`, keep(file(content.ref.id))] as const
    })
    folders[`folder ${n}`] = keep(dir(Object.fromEntries(made)))
    const parents = n === 0 ? [] : [commitIdOf(`c${n - 1}`)]
    keep(commit(`c${n}`, { rootId: keep(dir(folders)).ref.id, parents, ctime: n }))
  }
  return objects
}

function lay(store: DiskObjectStore, { ref, bytes }: VerifiedObject, harm: boolean): void {
  const path = store.path(ref)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, harm ? bytes.subarray(1) : bytes)
}

interface Outcome {
  /** Of each request, the ids asked for. */
  readonly requests: readonly (readonly string[])[]
  readonly inVain: boolean
  readonly left: number
}

/** Takes what `store` holds, and asks for the rest of what the newest commit reaches. */
async function adopt(store: DiskObjectStore, primary: readonly VerifiedObject[]): Promise<Outcome> {
  const byId = new Map(primary.map(object => [object.ref.id, object]))
  const requests: string[][] = []
  const client = {
    async objects(asked: { objects: { id: string }[] }, onFrame: (frame: object) => void | Promise<void>) {
      requests.push(asked.objects.map(({ id }) => id))
      for (const { id } of asked.objects) {
        const { is, bytes } = byId.get(id) as VerifiedObject
        await onFrame({ type: FRAME_OF[is], payload: Buffer.concat([Buffer.from(id, 'hex'), bytes]) })
      }
      return { mac: '', changed: false, firstMs: 0, restMs: 0 }
    },
  } as unknown as PullSource
  const readFacts = factsFrom(store, REPO)
  const where = { repo: REPO, storeId: REPO, store }
  const order = { want: commitIdOf('c2'), base: null, truncateTime: -1, holes: [], readFacts }
  const frontier = new Frontier({ ...where, ...order })
  await frontier.begin()
  const events = { library: async () => {}, checkpoint() {}, progress() {} }
  using blocks = new BlockIndex(join(store.dataDir, 'blocks.idx'))
  await using intake = new ObjectIntake({ ...where, blocks, client, frontier, events, signal: never })
  using own = new OwnObjects({ ...where, frontier, intake, signal: never })
  await own.settle() // the commits
  frontier.beginTrees(null)
  await own.settle()
  await intake.drained()
  await intake.commit()
  return { requests, inVain: own.inVain, left: frontier.size }
}

t.test('own objects: exactly what is missing or damaged is asked for, however it is scattered, each once', async t => {
  const all = library(4)
  const state = fc.constantFrom('whole', 'whole', 'damaged', 'missing')
  const each = fc.array(state, { minLength: all.length, maxLength: all.length })
  const complete = fc.asyncProperty(each, async states => {
    using disk = new OnDisk()
    all.forEach((object, n) => {
      if (states[n] !== 'missing') lay(disk.store, object, states[n] === 'damaged')
    })
    const { requests, left } = await adopt(disk.store, all)
    const lacking = idsOf(all.filter((_, n) => states[n] !== 'whole'))
    t.strictSame(requests.flat().sort(), lacking)
    t.equal(left, 0)
    for (const { ref, bytes } of all) {
      const read = disk.store.read(ref)
      if (read.state !== 'whole' || !read.object.bytes.equals(bytes)) return false
    }
    return true
  })
  t.match(await fc.check(complete, { numRuns: 40 }), { failed: false })
})

t.test('own objects: many that lack are asked for together, some thousand at a time', async t => {
  using disk = new OnDisk()
  const all = library(800)
  const lacks = (object: VerifiedObject, n: number) => object.is === 'fs' && n % 3 === 0
  all.forEach((object, n) => lacks(object, n) || lay(disk.store, object, false))
  const { requests, inVain } = await adopt(disk.store, all)
  t.strictSame(requests.flat().sort(), idsOf(all.filter(lacks)))
  t.equal(inVain, false)
  t.ok(requests.length <= 5, `${requests.length} requests`)
  t.ok(requests.every(ids => ids.length <= 1_000))
})

t.test('own objects: looking ends where more lacks than is found', async t => {
  using disk = new OnDisk()
  const all = library(2_000)
  for (const object of all) if (object.is === 'commit') lay(disk.store, object, false)
  const { inVain, left, requests } = await adopt(disk.store, all)
  t.equal(inVain, true)
  t.ok(requests.flat().length < 20, 'but for the uppermost folders nothing was asked for by name')
  t.ok(left >= 2_000, 'the rest is expected on')
})
