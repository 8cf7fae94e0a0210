/** Tables on the terminal as they are measured, and the same in `bench/results/<date>.md`. */

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { table } from './stats.js'

/** Compiled, this module is one level further down. */
const RESULTS = fileURLToPath(new URL('../../bench/results', import.meta.url))

export interface Table {
  readonly header: readonly string[]
  readonly rows: ReadonlyArray<readonly string[]>
}

export interface Section {
  readonly title: string
  readonly tables: readonly Table[]
  /** Sentences below the tables. */
  readonly notes?: readonly string[]
  /** Written beside the report. */
  readonly picture?: { readonly name: string; readonly svg: string }
}

export class Report {
  readonly #path: string
  readonly #name: string
  readonly #text: string[]

  /** A trial is of other sizes than the targets are about: its file says so, and is not kept. */
  constructor(about: readonly string[], { trial }: { readonly trial: boolean }) {
    mkdirSync(RESULTS, { recursive: true })
    this.#name = freeName(`${new Date().toISOString().slice(0, 10)}${trial ? '-trial' : ''}`)
    this.#path = join(RESULTS, `${this.#name}.md`)
    this.#text = [`# Measured side by side, ${this.#name}`, about.map(line => `- ${line}`).join('\n')]
    for (const line of about) console.log(line)
  }

  get path(): string {
    return this.#path
  }

  /** Written at once: what is measured stays, whatever comes after. */
  add({ title, tables, notes = [], picture }: Section): void {
    console.log(`\n${title}\n`)
    this.#text.push(`## ${title}`)
    for (const { header, rows } of tables) {
      console.log(`${table(header, rows)}\n`)
      this.#text.push(markdown(header, rows))
    }
    for (const note of notes) console.log(note)
    this.#text.push(...notes)
    if (picture) this.#addPicture(picture)
    this.#write()
  }

  #addPicture({ name, svg }: { readonly name: string; readonly svg: string }): void {
    const file = `${this.#name}-${name}.svg`
    writeFileSync(join(RESULTS, file), svg)
    this.#text.push(`![${name}](${file})`)
  }

  #write(): void {
    writeFileSync(this.#path, `${this.#text.join('\n\n')}\n`)
  }
}

/** A day may have more than one. */
function freeName(date: string): string {
  for (let n = 1; ; n++) {
    const name = n === 1 ? date : `${date}-${n}`
    if (!existsSync(join(RESULTS, `${name}.md`))) return name
  }
}

/** As prettier writes it: columns of one width, figures to the right. */
function markdown(header: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const MARKS = 3
  const widths = header.map((_, column) => Math.max(MARKS, ...[header, ...rows].map(row => (row[column] ?? '').length)))
  const line = (row: readonly string[]) =>
    `| ${widths.map((width, n) => (n === 0 ? (row[n] ?? '').padEnd(width) : (row[n] ?? '').padStart(width))).join(' | ')} |`
  const rule = `| ${widths.map((width, n) => (n === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`
  return [line(header), rule, ...rows.map(line)].join('\n')
}
