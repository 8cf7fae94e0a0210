/** What changed between two states of a library: names and sizes, and of text files the lines. */

import fastDiff from 'fast-diff'
import { entriesOf } from './tree.js'
import type { Entry } from './tree.js'
import type { LibraryAt } from './library-at.js'

export interface Change {
  readonly path: string
  readonly kind: 'dir' | 'file'
  readonly what: 'added' | 'removed' | 'changed'
  readonly before: Entry | null
  readonly after: Entry | null
}

/** One side of a comparison: a directory or a file of one state; null: there was nothing at that path. */
export interface Side {
  readonly library: LibraryAt
  readonly entry: Entry | null
}

/** Below two entries of the same path, in the order of names. What has the same id on both sides is not looked into. */
export function* changesBetween(before: Side, after: Side): Generator<Change, void, undefined> {
  const levels: Iterator<readonly [Side, Side]>[] = [[[before, after] as const].values()] // deeper than any stack
  for (let level = levels.at(-1); level; level = levels.at(-1)) {
    const { value, done } = level.next()
    if (done) levels.pop()
    else {
      const [old, now] = [value[0].entry, value[1].entry]
      const same = old !== null && now !== null && old.kind === now.kind
      if (same && old.id === now.id) continue
      if (same && old.kind === 'file') yield change('changed', old, now)
      if (!same && old) yield change('removed', old, null)
      if (!same && now) yield change('added', null, now)
      for (const inside of insides(value, same)) levels.push(inside)
    }
  }
}

/** What is below: of two directories both at once; else what was, and what is, each for itself. */
function insides([before, after]: readonly [Side, Side], together: boolean): Iterator<readonly [Side, Side]>[] {
  const none = ({ library }: Side): Side => ({ library, entry: null })
  if (together) return [children(before, after)]
  // the one that is pushed last comes first
  return [children(none(before), after), children(before, none(after))]
}

function children(before: Side, after: Side): Iterator<readonly [Side, Side]> {
  const [were, are] = [byName(before), byName(after)]
  const names = [...new Set([...were.keys(), ...are.keys()])].sort()
  return names
    .map(
      name =>
        [
          { library: before.library, entry: were.get(name) ?? null },
          { library: after.library, entry: are.get(name) ?? null },
        ] as const,
    )
    .values()
}

const byName = ({ library, entry }: Side): Map<string, Entry> =>
  new Map(entry?.kind === 'dir' ? entriesOf(library, entry).map(child => [child.name, child]) : [])

function change(what: Change['what'], before: Entry | null, after: Entry | null): Change {
  const { path, kind } = (after ?? before) as Entry
  return { path, kind, what, before, after }
}

/** A line with how it stands: '-' it was, '+' it is, ' ' both. */
export interface LineChange {
  readonly sign: '-' | '+' | ' '
  readonly line: string
}

/** A letter stands for each different line: there are so many letters below the surrogates. */
const LINES_MAX = 0xd7ff

/** Null: more different lines than can be compared. */
export function lineChanges(before: string, after: string): LineChange[] | null {
  const lines: string[] = []
  const letters = new Map<string, string>()
  const asLetters = (text: string): string =>
    linesOf(text)
      .map(line => {
        let letter = letters.get(line)
        if (letter === undefined) {
          letter = String.fromCharCode(lines.length)
          letters.set(line, letter)
          lines.push(line)
        }
        return letter
      })
      .join('')
  const [old, now] = [asLetters(before), asLetters(after)]
  if (lines.length > LINES_MAX) return null
  const sign = { [fastDiff.DELETE]: '-', [fastDiff.INSERT]: '+', [fastDiff.EQUAL]: ' ' } as const
  return fastDiff(old, now).flatMap(([how, text]) =>
    Array.from(text, letter => ({ sign: sign[how], line: lines[letter.charCodeAt(0)] as string })),
  )
}

/** The end of the last line is no line. */
function linesOf(text: string): string[] {
  const lines = text.split(/\r?\n/)
  if (lines.at(-1) === '') lines.pop()
  return lines
}

/** As git decides it: no NUL byte in the beginning, and it is UTF-8. */
export function asText(bytes: Buffer): string | null {
  if (bytes.subarray(0, 8_000).includes(0)) return null
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return null
  }
}
