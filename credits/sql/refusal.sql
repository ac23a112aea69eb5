-- Why this wallet may not give `p_amount` credits now; null when it may:
--   due           time has changed it (an expiry, a refill, a hold that lapses): settle it and call again
--   new_day       its day of paid credits is over: begin the next one and call again
--   closed, frozen, in_debt, insufficient, capped   refused
CREATE OR REPLACE FUNCTION credits_refusal(wallet credits_wallet, p_amount bigint, p_now timestamptz)
RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    cap bigint := coalesce(wallet.daily_cap_override, wallet.daily_cap);
    paid bigint;
BEGIN
    IF wallet.next_due_at <= p_now THEN
        RETURN 'due';
    ELSIF wallet.closed_at IS NOT NULL THEN
        RETURN 'closed';
    ELSIF wallet.frozen_at IS NOT NULL THEN
        RETURN 'frozen';
    ELSIF wallet.debt > 0 THEN
        RETURN 'in_debt';
    ELSIF wallet.balance < p_amount THEN
        RETURN 'insufficient';
    ELSIF cap IS NULL THEN
        RETURN NULL;
    ELSIF wallet.cap_day_ends_at IS NULL OR wallet.cap_day_ends_at <= p_now THEN
        RETURN 'new_day';
    ELSIF wallet.cap_used + p_amount <= cap THEN
        RETURN NULL;
    END IF;
    -- It depends on how much of it would be drawn on what was paid for.
    SELECT coalesce(sum(greatest(0, least(lot.remaining, p_amount - lot.before))), 0) INTO paid FROM (
        SELECT g.source, g.remaining,
               sum(g.remaining) OVER (ORDER BY {draw_order}) - g.remaining
                   AS before
            FROM credits_grant g WHERE g.account_id = wallet.account_id AND g.is_open
    ) lot WHERE lot.source IN ('plan', 'purchase');
    RETURN CASE WHEN wallet.cap_used + paid > cap THEN 'capped' END;
END;
$$;
