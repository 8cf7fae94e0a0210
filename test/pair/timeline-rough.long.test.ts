/** A real server's own history, with steps that nobody saw and daemons that were killed. */

import t from 'tap'
import { followTimeline, timelineMissing } from '../support/follow-timeline.js'
import type { Way } from '../support/follow-timeline.js'

const WAYS: readonly Way[] = [
  { title: 'three at a time', engine: 'sqlite', stride: 3, kill: false },
  { title: 'a daemon killed at each', engine: 'sqlite', stride: 1, kill: true },
]

for (const way of WAYS) {
  const title = `timeline: 45 steps, ${way.title}: each library is where the rules want it, nothing is lost`
  t.test(title, { skip: timelineMissing(way) }, t => followTimeline(t, way))
}
