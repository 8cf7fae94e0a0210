/** Who asks the agent for everything, takes it as fast as it comes and keeps none: then nobody else is what is waited for. */

import { Agent, request } from 'node:http'
import { signedHeaders } from '../test/support/hostile-sockets.js'
import { agentPid, agentUrl } from './ours.js'
import { cpuSeconds } from './usage.js'
import type { RepoId } from '../src/shared/ids.js'
import type { Pair } from '../test/support/pair.js'

const PATH = '/v1/delta'
/** As many as a backup with two workers asks for at once. */
const STREAMS = 8

export interface Drained {
  readonly seconds: number
  /** Of bodies. */
  readonly bytes: number
  readonly agentCpuSeconds: number
}

/** First copies of `repos` in turn, over and over, until `seconds` are over; what has begun by then is broken off. */
export async function drain(pair: Pair, repos: readonly RepoId[], seconds: number): Promise<Drained> {
  const api = new URL(agentUrl(pair))
  const agent = new Agent({ keepAlive: true, maxSockets: STREAMS })
  const [startedAt, before] = [performance.now(), cpuSeconds(agentPid(pair))]
  const over = AbortSignal.timeout(1000 * seconds)
  const taken = { bytes: 0, asked: 0 }
  const takeInTurn = async () => {
    while (!over.aborted) {
      const repo = repos[taken.asked++ % repos.length] as RepoId
      await takeDelta({ api, agent, repo, signal: over }, bytes => (taken.bytes += bytes))
    }
  }
  await Promise.all(Array.from({ length: STREAMS }, takeInTurn))
  const agentCpuSeconds = cpuSeconds(agentPid(pair)) - before
  agent.destroy()
  return { seconds: (performance.now() - startedAt) / 1000, bytes: taken.bytes, agentCpuSeconds }
}

interface Asked {
  readonly api: URL
  readonly agent: Agent
  readonly repo: RepoId
  readonly signal: AbortSignal
}

/** Resolves at its end, or when `signal` is aborted. Rejects when the agent refuses or hangs up. */
function takeDelta({ api, agent, repo, signal }: Asked, took: (bytes: number) => void): Promise<void> {
  const body = JSON.stringify({ repo, have: null, haveSince: 0, commitsAlone: false })
  const headers = signedHeaders('POST', PATH, body)
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => (signal.aborted ? resolve() : reject(error))
    const sent = request(new URL(PATH, api), { method: 'POST', agent, headers, signal }, response => {
      if (response.statusCode !== 200) reject(new Error(`the agent answered ${response.statusCode}`))
      response.on('data', (chunk: Buffer) => took(chunk.byteLength))
      response.on('error', failed)
      response.on('end', resolve)
    })
    sent.on('error', failed)
    sent.end(body)
  })
}
