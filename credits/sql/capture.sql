-- Turn a hold into a spend of what the work cost, in one round trip. What is not needed goes back to the grants it
-- came from; what the work cost beyond the hold is drawn like a spend if all of it is there, else left out, and
-- `captured` says how much it was.
--
-- `outcome` is captured, replayed, another_cost (it was captured before), not_open (`status` says why),
-- due (settle and call again), new_day or new_period (begin the next one and call again) or no_hold. `needs_settling`
-- tells that credits went back to a grant whose time is over (they expire there), or that were paid for while credits
-- are owed (they pay). `p_quantity` is how many units it were in the end, where the hold was for the most there could be.
CREATE OR REPLACE FUNCTION credits_capture(
    p_account_id uuid,
    p_hold_id uuid,
    p_transaction_id uuid,
    p_cost bigint,
    p_metadata jsonb,
    p_actor text,
    p_now timestamptz,
    p_quantity bigint,
    p_usage jsonb,
    p_side text,
    OUT outcome text,
    OUT status text,
    OUT transaction_id uuid,
    OUT captured bigint,
    OUT balance_after bigint,
    OUT created_at timestamptz,
    OUT lots jsonb,
    OUT crossed text[],
    OUT needs_settling boolean,
    OUT feature text,
    OUT quantity bigint,
    OUT description text,
    OUT given_back bigint
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    is_awaited boolean;
    wallet credits_wallet;
    reserved credits_hold;
    prior credits_transaction;
    from_hold bigint;
    extra bigint;
    returned bigint;
    returned_paid bigint := 0;
    extra_paid bigint := 0;
    first_expiry timestamptz;
    drawn jsonb := '[]';
    is_same_day boolean;
BEGIN
    IF p_cost <= 0 THEN
        RAISE EXCEPTION 'a capture takes a positive cost, not %', p_cost USING ERRCODE = 'check_violation';
    END IF;

    SELECT * INTO wallet FROM credits_wallet w WHERE w.account_id = p_account_id FOR UPDATE;
    SELECT * INTO reserved FROM credits_hold h WHERE h.account_id = p_account_id AND h.id = p_hold_id;
    IF NOT FOUND THEN
        outcome := 'no_hold';
        RETURN;
    END IF;
    status := reserved.status;
    feature := reserved.feature;
    quantity := coalesce(p_quantity, reserved.quantity);
    description := reserved.description;
    IF reserved.status = 'captured' THEN
        IF reserved.asked <> p_cost THEN
            outcome := 'another_cost';
            RETURN;
        END IF;
        SELECT * INTO prior FROM credits_transaction t WHERE t.account_id = p_account_id AND t.hold_id = p_hold_id;
        outcome := 'replayed';
        transaction_id := prior.id;
        captured := reserved.captured;
        balance_after := prior.balance_after;
        created_at := prior.created_at;
        quantity := prior.quantity;
        lots := credits_lots(p_account_id, prior.id);
        given_back := credits_returned(p_account_id, prior.id);
        RETURN;
    ELSIF reserved.status <> 'open' THEN
        outcome := 'not_open';
        RETURN;
    ELSIF wallet.next_due_at <= p_now THEN
        outcome := 'due';
        RETURN;
    END IF;

    from_hold := least(p_cost, reserved.amount);
    returned := reserved.amount - from_hold;
    extra := p_cost - from_hold;
    IF extra > 0 THEN
        outcome := credits_refusal(wallet, extra, p_now);
        IF outcome IS NULL AND wallet.has_spending_limits THEN
            outcome := credits_limit_refusal(p_account_id, ARRAY[reserved.actor, p_actor]::text[], extra, p_now);
        END IF;
        IF outcome IN ('new_day', 'new_period') THEN
            RETURN;
        ELSIF outcome IS NOT NULL THEN
            extra := 0;
        END IF;
    END IF;

    -- Of the hold's lots, in their order, so much is spent and the rest goes back.
    WITH shares AS (
        SELECT l.grant_id, l.amount,
               least(l.amount, greatest(0, from_hold - (sum(l.amount) OVER (ORDER BY l.place) - l.amount))) AS spent
            FROM credits_holdlot l WHERE l.hold_id = p_hold_id
    ), marked AS (
        UPDATE credits_holdlot l SET captured = s.spent
            FROM shares s WHERE l.hold_id = p_hold_id AND l.grant_id = s.grant_id AND s.spent > 0
    ), given_back AS (
        UPDATE credits_grant g SET remaining = g.remaining + (s.amount - s.spent)
            FROM shares s WHERE g.account_id = p_account_id AND g.id = s.grant_id AND s.amount > s.spent
            RETURNING g.source, g.expires_at, g.awaited, s.amount - s.spent AS amount
    )
    SELECT min(b.expires_at), coalesce(sum(b.amount) FILTER (WHERE b.source IN ('plan', 'purchase')), 0),
           coalesce(bool_or(b.awaited > 0), false)
        INTO first_expiry, returned_paid, is_awaited FROM given_back b;

    IF extra > 0 THEN
        SELECT d.lots, d.paid INTO drawn, extra_paid FROM credits_draw(p_account_id, extra, NULL, NULL) d;
    END IF;

    outcome := 'captured';
    given_back := 0;
    status := 'captured';
    transaction_id := p_transaction_id;
    captured := from_hold + extra;
    balance_after := wallet.balance + returned - extra;
    created_at := p_now;
    needs_settling := coalesce(first_expiry <= p_now, false) OR is_awaited OR (returned_paid > 0 AND wallet.debt > 0);
    INSERT INTO credits_transaction (id, account_id, kind, amount, balance_after, debt_change, side, hold_id,
                                     feature, quantity, description, metadata, actor, created_at, usage)
        VALUES (p_transaction_id, p_account_id, 'spend', -captured, balance_after, 0, p_side, p_hold_id,
                reserved.feature, coalesce(p_quantity, reserved.quantity), reserved.description, p_metadata, p_actor, p_now, p_usage);
    -- A grant may be in the hold and in what was drawn beyond it: it gets one entry.
    INSERT INTO credits_entry (transaction_id, grant_id, account_id, amount)
        SELECT p_transaction_id, part.grant_id, p_account_id, -sum(part.amount) FROM (
            SELECT l.grant_id, l.captured AS amount FROM credits_holdlot l
                WHERE l.hold_id = p_hold_id AND l.captured > 0
            UNION ALL
            SELECT d."grant", d.amount FROM jsonb_to_recordset(drawn) AS d ("grant" uuid, amount bigint)
        ) part GROUP BY part.grant_id;
    UPDATE credits_hold h SET status = 'captured', asked = p_cost, captured = credits_capture.captured, ended_at = p_now
        WHERE h.account_id = p_account_id AND h.id = p_hold_id;
    is_same_day := wallet.cap_day_ends_at > p_now AND reserved.created_at >= wallet.cap_day_started_at;
    UPDATE credits_wallet w
        SET balance = credits_capture.balance_after,
            held = w.held - reserved.amount,
            next_due_at = least(w.next_due_at, first_expiry),
            cap_used = greatest(0, w.cap_used - CASE WHEN is_same_day THEN returned_paid ELSE 0 END
                                   + CASE WHEN wallet.cap_day_ends_at > p_now THEN extra_paid ELSE 0 END),
            touched_on = (p_now AT TIME ZONE 'UTC')::date
        WHERE w.account_id = p_account_id;
    lots := credits_lots(p_account_id, p_transaction_id);
    crossed := credits_crossed(wallet, wallet.balance + wallet.held, wallet.balance + wallet.held - captured);
    IF wallet.has_spending_limits THEN
        -- What was held counts for who held it, since then; what the work cost beyond that, now and for who says so, too.
        PERFORM credits_count_use(p_account_id, ARRAY[reserved.actor]::text[], -returned, reserved.created_at, p_now);
        crossed := crossed
            || credits_count_use(p_account_id, ARRAY[reserved.actor, p_actor]::text[], extra, p_now, p_now);
    END IF;
END;
$$;
