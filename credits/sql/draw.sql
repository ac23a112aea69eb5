-- Take `p_amount` credits from the open grants, in their order, and note it: as entries of a transaction, or as lots of
-- a hold, or (both null) nowhere, when the caller does. Answers what came from which, and how much was paid for.
CREATE OR REPLACE FUNCTION credits_draw(
    p_account_id uuid, p_amount bigint, p_transaction_id uuid, p_hold_id uuid, OUT lots jsonb, OUT paid bigint
) LANGUAGE plpgsql AS $$
DECLARE
    lot record;
    needed bigint := p_amount;
    taken bigint;
    place integer := 0;
BEGIN
    lots := '[]';
    paid := 0;
    LOOP
        -- The first open grant; most spends end with it, and an emptied one is open no more.
        SELECT g.id, g.remaining, g.source INTO lot FROM credits_grant g
            WHERE g.account_id = p_account_id AND g.is_open
            ORDER BY {draw_order} LIMIT 1;
        IF NOT FOUND THEN
            -- The wallet said there was enough and the grants say there is not: never guess, never go on.
            RAISE EXCEPTION 'wallet % and its grants disagree by %', p_account_id, needed
                USING ERRCODE = 'data_corrupted';
        END IF;
        taken := least(needed, lot.remaining);
        place := place + 1;
        UPDATE credits_grant g SET remaining = g.remaining - taken WHERE g.account_id = p_account_id AND g.id = lot.id;
        IF p_transaction_id IS NOT NULL THEN
            INSERT INTO credits_entry (transaction_id, grant_id, account_id, amount)
                VALUES (p_transaction_id, lot.id, p_account_id, -taken);
        ELSIF p_hold_id IS NOT NULL THEN
            INSERT INTO credits_holdlot (hold_id, grant_id, account_id, place, amount, captured)
                VALUES (p_hold_id, lot.id, p_account_id, place, taken, 0);
        END IF;
        IF lot.source IN ('plan', 'purchase') THEN
            paid := paid + taken;
        END IF;
        lots := lots || jsonb_build_object('grant', lot.id, 'source', lot.source, 'amount', taken);
        needed := needed - taken;
        EXIT WHEN needed = 0;
    END LOOP;
END;
$$;
