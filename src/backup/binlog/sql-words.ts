/**
 * A statement as the words that say what it does: names, key words and some punctuation, without text, numbers and
 * comments. What the server obeys within a comment (`/*!`) counts as said.
 */

import type { Query } from './event-bodies.js'

export interface Word {
  /** Of names in quotes, without them. */
  readonly text: string
  /** In capitals; of a mark itself; empty for a name in quotes, which is never a key word. */
  readonly key: string
  /** One of `. , ( ) =` */
  readonly isMark: boolean
}

const SPACE = /\s+|--(?=[\s\0-\x1f]|$)[^\n]*|#[^\n]*|\/\*M?!\d*|\*\//y
const PLAIN = /[A-Za-z0-9_$\x80-\xff]+/y
const MARKS = '.,()='
const NUMBER = /(?:0x[0-9a-f]*|\d+(?:\.\d*)?(?:e[+-]?\d+)?)(?![A-Za-z0-9_$\x80-\xff])/iy
/** Words that are values, or say how the text after them is written. */
const VALUES = /^(NULL|TRUE|FALSE|DEFAULT|_[A-Z0-9]+)$/

/** A list of values leaves no more than one comma, so that the words of a long INSERT are few. */
export function wordsOf(query: Query): Word[] {
  const { text } = query
  const words: Word[] = []
  let at = 0
  while (at < text.length) {
    const char = text.charAt(at)
    const skipped = lengthAt(SPACE, text, at)
    if (skipped > 0) at += skipped
    else if (text.startsWith('/*', at)) at = endOfComment(text, at)
    else if (char === '`' || (char === '"' && query.ansiQuotes)) {
      const end = endOfQuoted(text, at, false)
      words.push({ text: named(text.slice(at + 1, end - 1).replaceAll(char + char, char)), key: '', isMark: false })
      at = end
    } else if (char === "'" || char === '"') at = endOfQuoted(text, at, query.backslashEscapes)
    else at += plainAt(text, at, words)
  }
  return words
}

/** A word, a mark, or what means nothing here. Gives its length. */
function plainAt(text: string, at: number, words: Word[]): number {
  const number = lengthAt(NUMBER, text, at)
  if (number > 0) return number
  const length = lengthAt(PLAIN, text, at)
  if (length === 0) {
    if (MARKS.includes(text.charAt(at))) addMark(words, text.charAt(at))
    return 1
  }
  const word = text.slice(at, at + length)
  const key = word.toUpperCase()
  const isPrefix = text.charAt(at + length) === "'" // x'00'
  if (!isPrefix && !VALUES.test(key)) words.push({ text: named(word), key, isMark: false })
  return length
}

function lengthAt(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at
  return pattern.test(text) ? pattern.lastIndex - at : 0
}

function endOfComment(text: string, at: number): number {
  const end = text.indexOf('*/', at + 2)
  return end < 0 ? text.length : end + 2
}

/** Two of the quotes are one that is meant. */
function endOfQuoted(text: string, from: number, backslashEscapes: boolean): number {
  const quote = text.charAt(from)
  const special = new RegExp(backslashEscapes ? `[${quote}\\\\]` : quote, 'g')
  special.lastIndex = from + 1
  for (let found = special.exec(text); found; found = special.exec(text)) {
    if (found[0] !== '\\' && text.charAt(special.lastIndex) !== quote) return special.lastIndex
    special.lastIndex += 1
  }
  return text.length
}

const named = (latin1: string): string => Buffer.from(latin1, 'latin1').toString('utf8')

function addMark(words: Word[], mark: string): void {
  const isLast = (text: string): boolean => words.at(-1)?.isMark === true && words.at(-1)?.text === text
  if (mark === ',' && isLast(',')) return
  if (mark === ')' && isLast(',')) words.pop()
  if (mark === ')' && isLast('(')) words.pop()
  else words.push({ text: mark, key: mark, isMark: true })
}
