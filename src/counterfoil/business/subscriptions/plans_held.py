"""Which rate plans a subscription has on which days: the one place that says so, as SQL."""


def plans_held(subscriptions: str = "true") -> str:
    """A CTE ``plan_held``: subscription_id, rate_plan_id, add_on, from_day, to_day (null: no end).

    One row for every stretch of days on which a subscription ``s`` that the condition names has a
    plan: the one it began with, those that followed, and its add-ons. A plan that is changed on
    its first day was never held.
    """
    return f"""
plan_held AS (
    SELECT subscription_id, rate_plan_id, add_on, from_day, least(next_day, end_date) AS to_day
    FROM (
        SELECT p.*, false AS add_on,
               lead(p.from_day) OVER (PARTITION BY p.subscription_id
                                      ORDER BY p.from_day, p.place) AS next_day
        FROM (SELECT s.id AS subscription_id, s.rate_plan_id, s.start_date AS from_day,
                     0::bigint AS place, s.end_date
              FROM subscription s WHERE {subscriptions}
              UNION ALL
              SELECT s.id, a.rate_plan_id, a.effective_date, a.id, s.end_date
              FROM amendment a JOIN subscription s ON s.id = a.subscription_id
              WHERE a.kind IN ('change_plan', 'renew') AND a.rate_plan_id IS NOT NULL
                AND {subscriptions}) p
        UNION ALL
        SELECT s.id, a.rate_plan_id, a.effective_date, a.id, s.end_date, true,
               (SELECT min(r.effective_date) FROM amendment r
                WHERE r.subscription_id = s.id AND r.kind = 'remove_add_on'
                  AND r.rate_plan_id = a.rate_plan_id AND r.id > a.id)
        FROM amendment a JOIN subscription s ON s.id = a.subscription_id
        WHERE a.kind = 'add_on' AND {subscriptions}
    ) held
    WHERE coalesce(least(next_day, end_date), 'infinity') > from_day
)"""
