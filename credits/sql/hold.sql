-- Set credits aside in one round trip. `outcome` is held, replayed, conflict, no_wallet, too_many, or what
-- credits_refusal or credits_limit_refusal answers; `lots` what was taken from which grant; `status` and `captured` what became of a
-- replayed hold meanwhile; `crossed` what credits_count_use says of the limits of its actor. A key belongs to its side (buyer, seller, internal).
CREATE OR REPLACE FUNCTION credits_hold(
    p_account_id uuid,
    p_hold_id uuid,
    p_amount bigint,
    p_key text,
    p_fingerprint bytea,
    p_feature text,
    p_quantity bigint,
    p_description text,
    p_metadata jsonb,
    p_actor text,
    p_now timestamptz,
    p_expires_at timestamptz,
    p_most_open integer,
    p_side text,
    OUT outcome text,
    OUT hold_id uuid,
    OUT balance_after bigint,
    OUT created_at timestamptz,
    OUT expires_at timestamptz,
    OUT lots jsonb,
    OUT status text,
    OUT captured bigint,
    OUT crossed text[]
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    wallet credits_wallet;
    prior credits_hold;
    paid bigint;
BEGIN
    SELECT * INTO wallet FROM credits_wallet w WHERE w.account_id = p_account_id FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'no_wallet';
        RETURN;
    END IF;

    SELECT * INTO prior FROM credits_hold h WHERE h.account_id = p_account_id AND h.side = p_side
        AND h.idempotency_key = p_key;
    IF FOUND THEN
        IF prior.fingerprint IS DISTINCT FROM p_fingerprint THEN
            outcome := 'conflict';
            RETURN;
        END IF;
        outcome := 'replayed';
        hold_id := prior.id;
        balance_after := prior.balance_after;
        created_at := prior.created_at;
        expires_at := prior.expires_at;
        lots := credits_hold_lots(prior.id);
        status := prior.status;
        captured := prior.captured;
        RETURN;
    END IF;

    balance_after := wallet.balance;
    outcome := credits_refusal(wallet, p_amount, p_now);
    IF outcome IS NULL AND wallet.has_spending_limits THEN
        outcome := credits_limit_refusal(p_account_id, ARRAY[p_actor], p_amount, p_now);
    END IF;
    IF outcome IS NOT NULL THEN
        RETURN;
    END IF;
    IF (SELECT count(*) FROM (SELECT 1 FROM credits_hold h WHERE h.account_id = p_account_id AND h.status = 'open'
                                  LIMIT p_most_open) open_holds) >= p_most_open THEN
        outcome := 'too_many';
        RETURN;
    END IF;

    outcome := 'held';
    status := 'open';
    hold_id := p_hold_id;
    balance_after := wallet.balance - p_amount;
    created_at := p_now;
    expires_at := p_expires_at;
    INSERT INTO credits_hold (id, account_id, status, amount, balance_after, side, idempotency_key, fingerprint,
                              feature, quantity, description, metadata, actor, created_at, expires_at)
        VALUES (p_hold_id, p_account_id, 'open', p_amount, balance_after, p_side, p_key, p_fingerprint,
                p_feature, p_quantity, p_description, p_metadata, p_actor, p_now, p_expires_at);
    SELECT d.lots, d.paid INTO lots, paid FROM credits_draw(p_account_id, p_amount, NULL, p_hold_id) d;
    UPDATE credits_wallet w
        SET balance = w.balance - p_amount,
            held = w.held + p_amount,
            next_due_at = least(w.next_due_at, p_expires_at),
            cap_used = CASE WHEN w.cap_day_ends_at > p_now THEN w.cap_used + paid ELSE w.cap_used END,
            touched_on = (p_now AT TIME ZONE 'UTC')::date
        WHERE w.account_id = p_account_id;
    IF wallet.has_spending_limits THEN
        crossed := credits_count_use(p_account_id, ARRAY[p_actor], p_amount, p_now, p_now);
    END IF;
END;
$$;
