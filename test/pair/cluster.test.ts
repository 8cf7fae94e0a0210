/** Two nodes of one Seafile cluster: the same database and the same storage, an agent on each. */

import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { DaemonProcess } from '../../scripts/local/daemon-process.js'
import { mariadbInstalled } from '../support/mariadb.js'
import { Pair } from '../support/pair.js'
import { Relay } from '../support/relay.js'
import { testDatabase } from '../support/sides.js'
import type { RepoId } from '../../src/shared/ids.js'

const skip = !mariadbInstalled() && 'mariadbd is not installed'

/** The other node: its own conf and state, the same database and storage. */
class SecondNode implements AsyncDisposable {
  #process: DaemonProcess | undefined

  private constructor(readonly relay: Relay) {}

  static async lay(): Promise<SecondNode> {
    return new SecondNode(await Relay.start())
  }

  get url(): string {
    return `http://127.0.0.1:${this.relay.port}`
  }

  async start(pair: Pair): Promise<void> {
    const conf = join(pair.dir, 'second', 'conf')
    await mkdir(conf, { recursive: true })
    await copyFile(join(pair.primary.dir, 'conf', 'seafile.conf'), join(conf, 'seafile.conf'))
    const state = join(pair.dir, 'second', 'state')
    this.#process = new DaemonProcess('primary', ['--conf', conf, '--data', pair.primary.dataDir, '--state', state])
    const ready = await this.#process.logged('primary agent ready')
    this.relay.target = Number(new URL(String(ready['api'])).port)
  }

  async kill(): Promise<void> {
    await this.#process?.kill()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await this.relay[Symbol.asyncDispose]()
  }
}

interface Cluster extends AsyncDisposable {
  readonly pair: Pair
  readonly second: SecondNode
  readonly repo: RepoId
  commit(path: string): Promise<void>
}

async function startCluster(): Promise<Cluster> {
  const stack = new AsyncDisposableStack()
  const db = stack.use(await testDatabase('mysql'))
  const second = stack.use(await SecondNode.lay())
  const primary = db.database ? { primary: { database: db.database } } : {}
  const pair = stack.use(await Pair.start({ ...primary, otherPrimaries: [second.url] }))
  await second.start(pair)
  stack.defer(() => second.kill()) // before the pair's directory goes, in which it writes
  await pair.settle()
  await pair.until('both agents connected', async () => (await pair.status()).primary.agentsConnected === 2)
  await pair.sync(null) // and with it the sweeps that the connections brought
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Shared by two nodes', owner: 'jo@example.com' })
  const commit = async (path: string) => {
    const head = await writer.commit(repo, [{ op: 'put', path, content: Buffer.from(path) }])
    await pair.until(`head of ${path}`, async () => {
      const library = await pair.library(repo)
      return library?.head === head && library.state === 'synchronized'
    })
  }
  await commit('/first.txt')
  return { pair, second, repo, commit, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

const logged = (pair: Pair, msg: string) => (pair.backup.process?.log ?? []).filter(line => line.msg === msg)

t.test('cluster: a change that both nodes tell of is recorded once', { skip }, async t => {
  await using cluster = await startCluster()
  const { pair, repo } = cluster
  for (let n = 0; n < 20; n++) await cluster.commit(`/file ${n}.txt`)
  const heads = logged(pair, 'head recorded')
    .filter(line => line['repo'] === repo)
    .map(line => line['head'])
  t.equal(new Set(heads).size, heads.length, 'no head was recorded twice')
  t.equal((await pair.libraryAtRest(repo))?.state, 'synchronized')
})

for (const lost of ['first', 'second'] as const) {
  t.test(
    `cluster: the ${lost} node goes away: changes still arrive as events, pulled from the other`,
    { skip },
    async t => {
      await using cluster = await startCluster()
      const { pair, second, repo } = cluster
      if (lost === 'first') await pair.primary.process?.kill()
      else await second.kill()
      await pair.until('one agent left', async () => (await pair.status()).primary.agentsConnected === 1)
      await pair.sync(null) // and with it the sweep that the lost connection brought
      const sweeps = logged(pair, 'swept').length

      for (let n = 0; n < 5; n++) await cluster.commit(`/alone ${n}.txt`)

      t.equal(logged(pair, 'swept').length, sweeps, 'no sweep was needed')
      t.match(await pair.library(repo), { state: 'synchronized', failure: null })
      t.equal((await pair.status()).primary.problem, null)
    },
  )
}

t.test('cluster: with no node left it says so, and goes on when any of them is back', { skip }, async t => {
  await using cluster = await startCluster()
  const { pair, second, repo } = cluster
  await pair.primary.process?.kill()
  await second.kill()
  const head = await (
    await pair.writer()
  ).commit(repo, [{ op: 'put', path: '/late.txt', content: Buffer.from('late') }])
  await pair.sync(null)
  t.equal((await pair.status()).primary.problem?.code, 'PRIMARY_UNREACHABLE')

  await second.start(pair)

  await pair.until('recorded', async () => (await pair.library(repo))?.head === head)
  await pair.until('no problem', async () => (await pair.status()).primary.problem === null)
  t.equal((await pair.libraryAtRest(repo))?.state, 'synchronized')
})
