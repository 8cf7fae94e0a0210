/** What every measurement gets, and what it gives. */

import { largeBlocks } from './data/large-blocks.js'
import { smallObjects } from './data/small-objects.js'
import type { Source } from './data/source.js'
import type { Section } from './report.js'
import type { Workspace } from './workspace.js'

export interface Settings {
  /** Of each system; the tables have medians. */
  readonly runs: number
  /** Of all sizes and counts; 1 is what the targets are about. */
  readonly scale: number
  /** Also what takes hours. */
  readonly long: boolean
}

export interface Measurement {
  /** For `--only`. */
  readonly name: string
  readonly about: string
  run(bench: Bench): Promise<Section>
}

export class Bench {
  #small: Promise<Source> | undefined
  #large: Promise<Source> | undefined

  constructor(
    readonly workspace: Workspace,
    readonly settings: Settings,
  ) {}

  /** S1, made once for all measurements. */
  small(): Promise<Source> {
    return (this.#small ??= this.#made('small objects', smallObjects))
  }

  /** S2, made once for all measurements. */
  large(): Promise<Source> {
    return (this.#large ??= this.#made('large blocks', largeBlocks))
  }

  /** To whoever waits; no part of the report. */
  say(text: string): void {
    console.log(`${new Date().toISOString().slice(11, 19)} ${text}`)
  }

  async #made(what: string, make: (dir: string, scale: number) => Promise<Source>): Promise<Source> {
    this.say(`making ${what}`)
    const source = await make(this.workspace.fresh('source'), this.settings.scale)
    this.say(`made ${what}: ${source.objects} objects, ${(source.bytes / 1e6).toFixed(0)} MB`)
    return source
  }
}
