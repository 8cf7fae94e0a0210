/**
 * What a real primary went through, step by step, and what a backup that follows it must hold after each.
 *
 * The model here knows nothing of the product: it walks the commits of all
 * steps as plain JSON and applies the table of design.md, section 7.
 */

import { execFile } from 'node:child_process'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { SHARED_DIR } from './fixtures.js'
import type { Expected } from './fixtures.js'

const run = promisify(execFile)

export interface TimelineLibrary {
  readonly name: string
  readonly state: 'live' | 'trash' | 'garbage' | 'gone'
  readonly head: string
  readonly move: string
  readonly damaged: 'head' | 'history' | null
}

export interface TimelineStep {
  readonly step: number
  readonly name: string
  readonly did: string
  /** When the primary was read, Unix seconds. */
  readonly as_of: number
  readonly libraries: Readonly<Record<string, TimelineLibrary>>
}

/** What the backup must show of one library. */
export interface ExpectedState {
  head: string
  state: 'synchronized' | 'failed'
  code: 'HEAD_REWOUND' | 'HEAD_DIVERGED' | null
  deletedOnPrimary: boolean
}

export class Timeline {
  readonly #parents = new Map<string, readonly string[]>()
  readonly states = new Map<string, ExpectedState>()

  private constructor(
    readonly archive: string,
    readonly steps: readonly TimelineStep[],
  ) {}

  /** `archive`: where the fixture was extracted to. */
  static async open(archive: string): Promise<Timeline> {
    const steps = JSON.parse(await readFile(join(archive, 'steps.json'), 'utf8')) as TimelineStep[]
    const timeline = new Timeline(archive, steps)
    for (const dir of await readdir(join(archive, 'steps'))) await timeline.#learnCommits(join(archive, 'steps', dir))
    return timeline
  }

  /** Lays one step onto a primary, as the real one changed: objects, then rows, then what was removed. */
  async apply(step: number, primaryDir: string): Promise<void> {
    await run('python3', [
      join(SHARED_DIR, 'tools', 'apply-timeline.py'),
      this.archive,
      primaryDir,
      '--step',
      String(step),
    ])
  }

  /** Brings `states` forward by a step that the backup looked at. */
  follow(step: TimelineStep): void {
    for (const [id, library] of Object.entries(step.libraries)) {
      const before = this.states.get(id)
      if (library.state === 'live') this.states.set(id, this.#after(before, library))
      else if (before) this.states.set(id, { ...before, state: 'synchronized', code: null, deletedOnPrimary: true })
    }
  }

  /** `sync --force` of one library. */
  adopt(repo: string, step: TimelineStep): void {
    const head = step.libraries[repo]?.head ?? ''
    this.states.set(repo, { head, state: 'synchronized', code: null, deletedOnPrimary: false })
  }

  /** What the independent reader found on the primary after that step. */
  async expected(step: TimelineStep): Promise<Expected> {
    const dir = (await readdir(join(this.archive, 'steps'))).find(name => Number(name.slice(0, 3)) === step.step) ?? ''
    return JSON.parse(await readFile(join(this.archive, 'steps', dir, 'expected.json'), 'utf8')) as Expected
  }

  #after(before: ExpectedState | undefined, { head, move }: TimelineLibrary): ExpectedState {
    const followed = { head, state: 'synchronized', code: null, deletedOnPrimary: false } as const
    if (!before || this.#descends(head, before.head)) return followed
    const isAncestor = this.#descends(before.head, head)
    if (isAncestor && move === 'revisit') return followed
    const code = isAncestor ? 'HEAD_REWOUND' : 'HEAD_DIVERGED'
    return { head: before.head, state: 'failed', code, deletedOnPrimary: false }
  }

  /** Also of itself. */
  #descends(commit: string, ancestor: string): boolean {
    const seen = new Set<string>()
    const waiting = [commit]
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      if (id === ancestor) return true
      if (seen.has(id)) continue
      seen.add(id)
      waiting.push(...(this.#parents.get(id) ?? []))
    }
    return false
  }

  async #learnCommits(stepDir: string): Promise<void> {
    const commits = join(stepDir, 'add', 'seafile-data', 'storage', 'commits')
    const files = await readdir(commits, { recursive: true, withFileTypes: true }).catch(() => [])
    for (const file of files.filter(entry => entry.isFile())) {
      const text = await readFile(join(file.parentPath, file.name), 'utf8')
      if (text === '') continue // planted damage
      const commit = JSON.parse(text) as { commit_id: string; parent_id?: string; second_parent_id?: string }
      const parents = [commit.parent_id, commit.second_parent_id].filter(id => typeof id === 'string')
      this.#parents.set(commit.commit_id, parents)
    }
  }
}
