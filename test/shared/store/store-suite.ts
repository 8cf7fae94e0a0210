/** What any ObjectStore promises, whatever it keeps its objects in (src/shared/store/object-store.ts). */

import t from 'tap'
import { REPO, block, commit, dir, file, idOf } from '../../support/objects.js'
import type { ObjectKind, ObjectRef, ObjectStore, ReadObject } from '../../../src/shared/store/object-store.js'
import type { VerifiedObject } from '../../../src/shared/store/verify.js'

/** A store with nothing in it, and the means to do to it what a bad disk does. */
export interface StoreUnderTest extends AsyncDisposable {
  readonly store: ObjectStore
  /** Puts `bytes` under the name, verified or not; null takes away what is there. */
  damage(ref: ObjectRef, bytes: Buffer | null): void
  /** What a process that is killed leaves: an open batch with objects in it, and then a new process. */
  restart(): ObjectStore
}

const OTHER_REPO = '0b1ec700-0000-4000-8000-000000000002'
const signal = () => new AbortController().signal

/** `count` different blocks, in many directories. */
export const blocks = (count: number, label = 'block'): VerifiedObject[] =>
  Array.from({ length: count }, (_, n) => block(`${label} ${n}`))

export async function store(into: ObjectStore, ...objects: readonly VerifiedObject[]): Promise<void> {
  const batch = into.openBatch()
  for (const object of objects) await batch.put(object)
  await batch.commit(signal())
}

export async function listed(from: ObjectStore, kind: ObjectKind = 'blocks', storeId: string = REPO) {
  const ids: string[] = []
  for await (const ref of from.list(kind, storeId)) ids.push(ref.id)
  return ids.sort()
}

const isWhole = (read: ReadObject, object: VerifiedObject): boolean =>
  read.state === 'whole' && read.object.bytes.equals(object.bytes) && read.object.is === object.is

export async function countWhole(from: ObjectStore, objects: readonly VerifiedObject[]): Promise<number> {
  let whole = 0
  for (const object of objects) if (isWhole(await from.read(object.ref), object)) whole += 1
  return whole
}

const flipped = (bytes: Buffer, at: number): Buffer => {
  const damaged = Buffer.from(bytes)
  damaged[at] = (damaged[at] ?? 0) ^ 1
  return damaged
}

const content = block('eight kilobytes '.repeat(512))
const ONE_OF_EACH = [
  content,
  file(content.ref.id),
  dir({ file: file(content.ref.id) }),
  commit('first', { rootId: dir({ file: file(content.ref.id) }).ref.id }),
]

export function storeSuite(name: string, make: () => Promise<StoreUnderTest>): void {
  t.test(`${name}: what is not there is missing, and an empty store lists nothing`, async t => {
    await using tested = await make()
    for (const { ref } of ONE_OF_EACH) t.strictSame(await tested.store.read(ref), { state: 'missing' })
    t.strictSame(await listed(tested.store), [])
  })

  for (const [what, damage] of [
    ['has a bit flipped at its beginning', (bytes: Buffer) => flipped(bytes, 0)],
    ['has a bit flipped in its middle', (bytes: Buffer) => flipped(bytes, bytes.byteLength >> 1)],
    ['was cut short', (bytes: Buffer) => bytes.subarray(0, bytes.byteLength - 1)],
    ['has no bytes', () => Buffer.alloc(0)],
    ['holds another object', () => block('another').bytes],
  ] as const) {
    t.test(`${name}: an object that ${what} is corrupt when read, and replaced by a whole one`, async t => {
      await using tested = await make()
      await store(tested.store, ...ONE_OF_EACH)
      for (const { ref, bytes, is } of ONE_OF_EACH) {
        // the middle of a commit's JSON is a text that nobody vouches for
        if (is !== 'commit' || !what.includes('middle')) tested.damage(ref, damage(bytes))
        else tested.damage(ref, damage(Buffer.alloc(bytes.byteLength)))
        t.match(await tested.store.read(ref), { state: 'corrupt', why: /./ }, is)
      }
      await store(tested.store, ...ONE_OF_EACH)
      t.equal(await countWhole(tested.store, ONE_OF_EACH), ONE_OF_EACH.length)
    })
  }

  t.test(`${name}: what was put and not committed is dropped by discard`, async t => {
    await using tested = await make()
    const batch = tested.store.openBatch()
    for (const object of ONE_OF_EACH) await batch.put(object)
    await batch.discard()
    for (const { ref } of ONE_OF_EACH) t.strictSame(await tested.store.read(ref), { state: 'missing' })
    t.strictSame(await listed(tested.store), [])
  })

  t.test(`${name}: discard after commit takes back nothing`, async t => {
    await using tested = await make()
    const batch = tested.store.openBatch()
    for (const object of ONE_OF_EACH) await batch.put(object)
    await batch.commit(signal())
    await batch.discard()
    t.equal(await countWhole(tested.store, ONE_OF_EACH), ONE_OF_EACH.length)
  })

  t.test(`${name}: a commit that is called off rejects with the reason and leaves nothing`, async t => {
    await using tested = await make()
    for (const count of [3, 100]) {
      const objects = blocks(count, `called off ${count}`)
      const batch = tested.store.openBatch()
      for (const object of objects) await batch.put(object)
      const reason = new Error('the daemon is stopping')
      await t.rejects(batch.commit(AbortSignal.abort(reason)), reason)
      t.strictSame(await listed(tested.store), [])
    }
  })

  t.test(`${name}: what a killed process had not committed is missing or whole, and can be stored again`, async t => {
    await using tested = await make()
    const objects = blocks(60)
    const batch = tested.store.openBatch()
    for (const object of objects) await batch.put(object)
    const after = tested.restart()
    for (const object of objects) {
      const read = await after.read(object.ref)
      if (read.state !== 'missing' && !isWhole(read, object)) t.fail('neither missing nor whole', { read })
    }
    await store(after, ...objects)
    t.equal(await countWhole(after, objects), 60)
  })

  t.test(`${name}: what was committed is read back byte for byte, also by a new process`, async t => {
    await using tested = await make()
    await store(tested.store, ...ONE_OF_EACH)
    t.equal(await countWhole(tested.store, ONE_OF_EACH), ONE_OF_EACH.length)
    t.equal(await countWhole(tested.restart(), ONE_OF_EACH), ONE_OF_EACH.length)
  })

  for (const count of [0, 1, 48, 49, 50, 1_999, 2_000, 2_001, 4_100]) {
    t.test(`${name}: a batch of ${count} objects is there whole after commit`, async t => {
      await using tested = await make()
      const objects = blocks(count)
      await store(tested.store, ...objects)
      t.equal(await countWhole(tested.store, objects), count)
      t.strictSame(await listed(tested.store), objects.map(object => object.ref.id).sort())
    })
  }

  for (const count of [1, 48, 60]) {
    t.test(
      `${name}: of ${count} blocks that another store directory holds, each is had from there, and stays`,
      async t => {
        await using tested = await make()
        const theirs = Array.from({ length: count }, (_, n) => block(`shared ${n}`, OTHER_REPO))
        await store(tested.store, ...theirs)
        const batch = tested.store.openBatch()
        for (const { ref } of theirs) {
          const object = await batch.share({ ...ref, storeId: REPO }, ref)
          t.match(object?.ref, { ...ref, storeId: REPO })
        }
        await batch.commit(signal())
        for (const { ref } of theirs) tested.damage(ref, null)
        const ours = theirs.map(({ bytes }) => block(bytes))
        t.equal(await countWhole(tested.restart(), ours), count)
      },
    )
  }

  t.test(`${name}: a block that is damaged or missing in the other store directory is not had from there`, async t => {
    await using tested = await make()
    for (const [n, bytes] of [Buffer.from('other bytes'), Buffer.alloc(0), null].entries()) {
      const { ref } = block(`damaged ${n}`, OTHER_REPO)
      await store(tested.store, block(`damaged ${n}`, OTHER_REPO))
      tested.damage(ref, bytes)
      const batch = tested.store.openBatch()
      t.equal(await batch.share({ ...ref, storeId: REPO }, ref), undefined)
      await batch.commit(signal())
    }
    t.strictSame(await listed(tested.store), [])
  })

  t.test(`${name}: a shared block replaces a damaged one, and is dropped by discard`, async t => {
    await using tested = await make()
    const theirs = block('good there', OTHER_REPO)
    const ours = block('good there')
    await store(tested.store, theirs, ours)
    tested.damage(ours.ref, null)
    const dropped = tested.store.openBatch()
    await dropped.share(ours.ref, theirs.ref)
    await dropped.discard()
    t.strictSame(await tested.store.read(ours.ref), { state: 'missing' })
    await store(tested.store, ours)
    tested.damage(ours.ref, Buffer.from('bad here'))
    const batch = tested.store.openBatch()
    await batch.share(ours.ref, theirs.ref)
    await batch.commit(signal())
    t.equal(await countWhole(tested.store, [ours, theirs]), 2)
  })

  t.test(`${name}: a batch goes on after commit, and a second commit vouches for what came since`, async t => {
    await using tested = await make()
    const batch = tested.store.openBatch()
    for (const [step, count] of [60, 5, 0, 2_000, 5].entries()) {
      const objects = blocks(count, `step ${step}`)
      for (const object of objects) await batch.put(object)
      await batch.commit(signal())
      t.equal(await countWhole(tested.store, objects), count, `step ${step}`)
    }
  })

  t.test(`${name}: an object that is put twice in a batch is stored once`, async t => {
    await using tested = await make()
    await store(tested.store, content, content, content)
    t.strictSame(await listed(tested.store), [content.ref.id])
    t.equal(await countWhole(tested.store, [content]), 1)
  })

  t.test(`${name}: two batches may store the same objects at once`, async t => {
    await using tested = await make()
    const objects = blocks(200)
    await Promise.all([
      store(tested.store, ...objects),
      store(tested.store, ...objects),
      store(tested.store, ...objects.slice(0, 5)),
    ])
    t.equal(await countWhole(tested.store, objects), 200)
    t.equal((await listed(tested.store)).length, 200)
  })

  t.test(`${name}: of two batches the one that is discarded takes nothing from the other`, async t => {
    await using tested = await make()
    const [kept, dropped] = [tested.store.openBatch(), tested.store.openBatch()]
    for (const object of ONE_OF_EACH) {
      await kept.put(object)
      await dropped.put(object)
    }
    await dropped.discard()
    await kept.commit(signal())
    t.equal(await countWhole(tested.store, ONE_OF_EACH), ONE_OF_EACH.length)
  })

  t.test(
    `${name}: a block in parts is stored when all of it has come, and of one that is another nothing stays`,
    async t => {
      await using tested = await make()
      const [small, large] = [block('a'), block('some megabytes '.repeat(200_000))]
      const batch = tested.store.openBatch()
      const sent = async (named: VerifiedObject, { bytes }: VerifiedObject) => {
        const coming = batch.begin(named.ref)
        for (let at = 0; at < bytes.byteLength; at += 65_536) coming.write(bytes.subarray(at, at + 65_536))
        await coming.end()
      }
      await t.rejects(sent(small, large), { name: 'NotWhatItsNameSays' })
      await sent(large, large)
      batch.begin(small.ref).write(small.bytes) // and never ends
      await batch.commit(signal())
      await batch.discard()
      t.strictSame(await listed(tested.store), [large.ref.id])
      t.equal(await countWhole(tested.store, [large]), 1)
      const again = tested.store.openBatch()
      const coming = again.begin(large.ref)
      coming.write(Buffer.from('it is here, and whole'))
      await coming.end()
      await again.commit(signal())
      t.equal(await countWhole(tested.store, [large]), 1)
    },
  )

  t.test(`${name}: a block in parts replaces one that is damaged, and is dropped with its batch`, async t => {
    await using tested = await make()
    await store(tested.store, content)
    tested.damage(content.ref, Buffer.from('bad'))
    for (const kept of [false, true]) {
      const batch = tested.store.openBatch()
      const coming = batch.begin(content.ref)
      coming.write(content.bytes)
      await coming.end()
      await (kept ? batch.commit(signal()) : batch.discard())
      t.equal(await countWhole(tested.store, [content]), Number(kept))
    }
  })

  t.test(`${name}: each object is listed under its own kind and library`, async t => {
    await using tested = await make()
    const elsewhere = block('of another library', OTHER_REPO)
    await store(tested.store, ...ONE_OF_EACH, elsewhere)
    const idsOf = (...kinds: string[]) =>
      ONE_OF_EACH.filter(object => kinds.includes(object.is)).map(object => object.ref.id)
    t.strictSame(await listed(tested.store, 'blocks'), idsOf('block'))
    t.strictSame(await listed(tested.store, 'fs'), idsOf('fs').sort())
    t.strictSame(await listed(tested.store, 'commits'), idsOf('commit'))
    t.strictSame(await listed(tested.store, 'blocks', OTHER_REPO), [elsewhere.ref.id])
    t.strictSame(await tested.store.read({ ...elsewhere.ref, storeId: REPO }), { state: 'missing' })
    t.strictSame(await listed(tested.store, 'blocks', idOf('no library')), [])
  })
}
