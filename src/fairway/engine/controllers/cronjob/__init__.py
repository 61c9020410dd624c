"""CronJobs to Jobs, by the clock.

Reads: CronJob, Job.   Writes: Job, CronJob status, Events; deletes jobs beyond the history limits.
Loop:  keyed.     Flow: times -> plan -> controller.
"""
