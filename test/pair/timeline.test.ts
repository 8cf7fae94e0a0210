/** A real server's own history, followed step by step. */

import t from 'tap'
import { followTimeline, timelineMissing } from '../support/follow-timeline.js'
import type { Way } from '../support/follow-timeline.js'

const WAYS: readonly Way[] = [
  { title: 'one after another', engine: 'sqlite', stride: 1, kill: false },
  { title: 'one after another, into MariaDB', engine: 'mysql', stride: 1, kill: false },
]

for (const way of WAYS) {
  const title = `timeline: 45 steps, ${way.title}: each library is where the rules want it, nothing is lost`
  t.test(title, { skip: timelineMissing(way) }, t => followTimeline(t, way))
}
